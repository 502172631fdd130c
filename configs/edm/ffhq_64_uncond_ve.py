r"""edm-ffhq-64x64-uncond-ve.pkl of EDM: NCSN++ on FFHQ at 64 pixels, 62.8 M parameters.

Command:  python main.py --mode=import --config=configs/edm/ffhq_64_uncond_ve.py \
          --workdir=runs/edm_ffhq_64_uncond_ve --checkpoint=edm-ffhq-64x64-uncond-ve.pkl
Training: python main.py --mode=train --config=configs/edm/ffhq_64_uncond_ve.py --workdir=runs/ffhq_64_uncond_ve
Hardware: published on eight V100, four days; one GPU samples it.
Expected: FID 2.53 in 79 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.as_ncsnpp(karras.faces_64(dropout=0.05)), fid=2.53, evaluations=79)
