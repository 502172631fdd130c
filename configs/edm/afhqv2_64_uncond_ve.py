r"""edm-afhqv2-64x64-uncond-ve.pkl of EDM: NCSN++ on AFHQv2 at 64 pixels, 62.8 M parameters.

Command:  python main.py --mode=import --config=configs/edm/afhqv2_64_uncond_ve.py \
          --workdir=runs/edm_afhqv2_64_uncond_ve --checkpoint=edm-afhqv2-64x64-uncond-ve.pkl
Training: python main.py --mode=train --config=configs/edm/afhqv2_64_uncond_ve.py --workdir=runs/afhqv2_64_uncond_ve
Hardware: published on eight V100, four days; one GPU samples it.
Expected: FID 2.16 in 79 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    config = karras.as_ncsnpp(karras.faces_64(dropout=0.25))
    config.data.path = "data/afhqv2"
    return karras.record(config, fid=2.16, evaluations=79)
