r"""edm-imagenet-64x64-cond-adm.pkl of EDM: ADM on ImageNet at 64 pixels, class-conditional, 295.9 M parameters.

Command:  python main.py --mode=import --config=configs/edm/imagenet_64_cond_adm.py \
          --workdir=runs/edm_imagenet_64_cond_adm --checkpoint=edm-imagenet-64x64-cond-adm.pkl
Hardware: published on 32 A100, 13 days; one GPU samples it.
Expected: FID 1.36 in 511 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras

CHURN = "Heun, S_churn 40, S_min 0.05, S_max 50, S_noise 1.003"


def get_config() -> ConfigDict:
    config = karras.get_config(image_size=64, label_dim=1000)
    config.data.dataset = "tfds:imagenet_resized/64x64"
    config.model.name = "adm"
    with config.unlocked():
        config.data.update(data_dir="", test_split="validation")
        config.model.update(nf=192, ch_mult=(1, 2, 3, 4), num_res_blocks=3, attn_resolutions=(32, 16, 8), dropout=0.1)
    config.model.augment_dim = 0
    config.data.augment = 0.0
    karras.schedule(config, batch_size=4096, images=2500e6, lr=1e-4, halflife=50e6)
    config.sampling.update(s_churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003)
    return karras.record(config, fid=1.36, evaluations=511, sampler=CHURN)
