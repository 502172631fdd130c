"""A small CLIP of noisy scenes, to guide configs/text/scenes.py or a model that reads no texts.

Commands: python main.py --mode=train --config=configs/text/scenes_clip.py --workdir=runs/scenes_clip
          python main.py --mode=evaluate --workdir=runs/scenes_clip
          python main.py --mode=sample --workdir=runs/scenes --config.sampling.guide=runs/scenes_clip \\
              --config.sampling.guidance=2 --config.sampling.prompt="a small red three in the centre on grey"
Hardware: two CPU cores, 2000 steps in 19 minutes beside other work.
Expected: over all noise levels together the right one of 100 captions is chosen for 12.3 % of the test pictures, whose
          captions are all of combinations that no training has shown (measured, `test_accuracy` of metrics.jsonl).
"""

from ml_collections import ConfigDict

from configs import default
from configs.text import scenes


def get_config() -> ConfigDict:
    config = scenes.get_config()
    texts = {name: config.model[name] for name in ("tokens", "vocabulary")}
    image = {"patch_size": 2, "image_width": 96, "image_layers": 3, "image_heads": 3}
    text = {"text_width": 64, "text_layers": 2, "text_heads": 4, "activation": "gelu"}
    told = {"noise_label": "t999", "num_scales": 1000}
    default.with_network(config, "clip", **texts, **image, **text, **told, projection_dim=64)
    config.training.loss, config.training.weight = "contrastive", "uniform"
    config.training.batch_size = 128
    config.training.n_iters = config.optim.decay_steps = 2000
    config.training.snapshot_freq = 1000
    config.optim.optimizer = "AdamW"
    config.optim.lr = 1e-3
    config.optim.weight_decay = 0.01
    config.sampling.guidance = 1.0
    config.eval.update(enable_sampling=False, judge="", samplers=())
    return config
