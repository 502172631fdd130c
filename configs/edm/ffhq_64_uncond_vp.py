r"""edm-ffhq-64x64-uncond-vp.pkl of EDM: DDPM++ on FFHQ at 64 pixels, 61.8 M parameters.

Command:  python main.py --mode=import --config=configs/edm/ffhq_64_uncond_vp.py \
          --workdir=runs/edm_ffhq_64_uncond_vp --checkpoint=edm-ffhq-64x64-uncond-vp.pkl
Training: python main.py --mode=train --config=configs/edm/ffhq_64_uncond_vp.py --workdir=runs/ffhq_64_uncond_vp
Hardware: published on eight V100, four days; one GPU samples it.
Expected: FID 2.39 in 79 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.faces_64(dropout=0.05), fid=2.39, evaluations=79)
