"""The digits as 17 categories, masked one after another: MDLM's bound in continuous time (Sahoo et al. 2024).

Commands: python main.py --mode=train --config=configs/categorical/digits_masked.py --workdir=runs/digits_masked
          python main.py --mode=evaluate --workdir=runs/digits_masked
Hardware: two CPU cores, 21 minutes beside other work (15 minutes of processor time).
Expected: 1.708 +- 0.014 bits/dim on the 297 held-out digits; Frechet distance over pixels 0.1055 (unmasking, 64 steps;
          1.20 times its floor) and 0.206 (maskgit).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.codec = "categories"
    with config.unlocked():
        config.sde = ConfigDict({"name": "masked", "schedule": "linear"})
        config.data.image_size = 8
        config.data.num_channels = 1
    network = {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 2, "attn_resolutions": (8, 4), "dropout": 0.1}
    default.with_network(config, "categorical_unet", **network, head="logits")
    config.model.ema_rate = 0.998
    config.training.loss = "categorical"
    config.training.stratified = True
    config.training.n_iters = 2400
    config.training.eval_freq = 600
    config.training.snapshot_freq = 1200
    config.training.snapshot_freq_for_preemption = 200
    config.optim.lr = 2e-3
    config.optim.warmup = 100
    config.optim.decay_steps = 2400
    config.sampling.method = "unmasking"
    config.sampling.steps = 64
    config.eval.enable_bpd = False  # of the flow of a score; of categories it is the bound
    config.eval.enable_vlb = True
    config.eval.vlb_times = 64
    config.eval.num_samples = 750
    config.eval.batch_size = 375
    config.eval.samplers = ("unmasking", "maskgit")
    config.eval.compare = ("unmasking", "maskgit", "tau_leaping", "discrete_flow")
    config.eval.compare_evaluations = (4, 8, 16, 32)
    config.eval.compare_reference, config.eval.compare_reference_evaluations = "unmasking", 256
    return config
