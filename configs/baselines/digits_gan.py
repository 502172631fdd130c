"""The network of configs/vp/digits.py as a generator of digits in one evaluation, trained against a discriminator.

Commands: python main.py --mode=train --config=configs/baselines/digits_gan.py --workdir=runs/digits_gan
          python main.py --mode=sample --workdir=runs/digits_gan
          python main.py --mode=evaluate --workdir=runs/digits_gan
Hardware: two CPU cores, 6 minutes beside other work.
Expected: of 750 samples a Frechet distance over pixels of 0.120, which is 1.36 times the floor of 0.088, precision
0.885 and recall 0.587 (measured). The losses and penalties are those of R3GAN (Huang et al. 2024, arXiv:2501.05441);
docs/baselines.md has what each option brings.

Other losses: --config.training.gan_loss=hinge; wasserstein with --config.training.gradient_penalty=10, r1_gamma 0 and
r2_gamma 0. None of them was tuned.
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    with config.unlocked():
        config.model.update(dropout=0.0, init_scale=1.0)  # a score may begin at 0, and a picture may not
    config.data.uniform_dequantization = False
    config.training.stratified = False  # no time is drawn
    config.training.loss = "adversarial"
    config.training.gan_loss = "relativistic"
    config.training.r1_gamma = config.training.r2_gamma = 1.0
    config.training.disc_lr_ratio = 4.0
    config.training.disc_layers = 1  # of 8 pixels; a logit sees all of them
    config.training.batch_size = 64
    config.training.n_iters = config.optim.decay_steps = 1200
    config.training.snapshot_freq = 400
    config.training.eval_freq = 0  # its loss depends on the discriminator
    config.optim.update(lr=1e-3, beta1=0.0, beta2=0.99, warmup=0)
    config.sampling.method = "generator"
    config.eval.samplers = ("generator",)
    config.eval.enable_bpd = False  # it has no likelihood
    return config
