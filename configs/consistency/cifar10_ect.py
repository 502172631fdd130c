r"""A snapshot of easy consistency tuning (Geng et al. 2024, arXiv:2406.14548): DDPM++ on CIFAR-10.

The public snapshot was picked for its distance in features of DINOv2 (198.51 in one evaluation, 128.63 in two); the FID
is that of 400,000 iterations. Published samples of two evaluations go back into noise of sigma 0.821:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(0.821,)".

Command:  python main.py --mode=import --config=configs/consistency/cifar10_ect.py \
          --workdir=runs/cifar10_ect --checkpoint=network-snapshot.pkl
Hardware: one GPU samples it.
Expected: FID 3.60; FID 2.11 in two evaluations (published).
"""

from ml_collections import ConfigDict

from configs import karras, song


def get_config() -> ConfigDict:
    config = karras.cifar10()
    config.model.update(augment_dim=0, dropout=0.2)
    config.data.augment = 0.0
    config = song.as_map(config, batch_size=128, n_iters=400_000, lr=1e-4, ema_rate=0.9999)
    config.model.preconditioning = "ect"
    config.model.dropout = 0.2
    config.sampling.t_min = 0.003 / 80.0
    return song.record(config, source="arXiv:2406.14548", fid=3.6, fid_2=2.11)
