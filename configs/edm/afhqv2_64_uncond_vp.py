r"""edm-afhqv2-64x64-uncond-vp.pkl of EDM: DDPM++ on AFHQv2 at 64 pixels, 61.8 M parameters.

Command:  python main.py --mode=import --config=configs/edm/afhqv2_64_uncond_vp.py \
          --workdir=runs/edm_afhqv2_64_uncond_vp --checkpoint=edm-afhqv2-64x64-uncond-vp.pkl
Training: python main.py --mode=train --config=configs/edm/afhqv2_64_uncond_vp.py --workdir=runs/afhqv2_64_uncond_vp
Hardware: published on eight V100, four days; one GPU samples it.
Expected: FID 1.96 in 79 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    config = karras.faces_64(dropout=0.25)
    config.data.path = "data/afhqv2"
    return karras.record(config, fid=1.96, evaluations=79)
