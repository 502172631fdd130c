"""The network of configs/vp/digits.py as a generator of digits in one evaluation, trained against a discriminator.

Commands: python main.py --mode=train --config=configs/baselines/digits_gan.py --workdir=runs/digits_gan
          python main.py --mode=sample --workdir=runs/digits_gan
          python main.py --mode=evaluate --workdir=runs/digits_gan
Hardware: two CPU cores, beside much other work.
Expected: of 750 samples a Frechet distance over pixels of 2.272 at a floor of 0.088, precision 0.749 and recall 0.001
behind 1800 of its 2400 steps, by --config.eval.checkpoint=1800 (measured): few kinds of digits. These options are a
first choice, and were compared with no others.

Other losses: --config.training.gan_loss=hinge; relativistic with --config.training.r2_gamma as r1_gamma is R3GAN's
(Huang et al. 2024, arXiv:2501.05441); wasserstein with --config.training.gradient_penalty=10, r1_gamma 0.
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    config.model.dropout = 0.0
    config.data.uniform_dequantization = False
    config.training.stratified = False  # no time is drawn
    config.training.loss = "adversarial"
    config.training.r1_gamma = 0.1
    config.training.disc_layers = 1  # of 8 pixels; a logit sees all of them
    config.training.batch_size = 64
    config.training.n_iters = config.optim.decay_steps = 2400
    config.training.snapshot_freq = 600
    config.training.eval_freq = 0  # its loss depends on the discriminator
    config.optim.update(lr=5e-4, beta1=0.0, beta2=0.99, warmup=0)
    config.sampling.method = "generator"
    config.eval.samplers = ("generator",)
    config.eval.enable_bpd = False  # it has no likelihood
    return config
