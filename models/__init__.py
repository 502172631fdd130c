"""Networks: arrays in, arrays out; nothing here knows of noise processes or training.

Each is called as `network(x [b, ...], c_noise [b], condition=None, *, keys=None) -> [b, ...]`, a classifier's answer
being [b, classes]; `keys`, one PRNG key an example, turns dropout on. A new network is one file and one line in MODELS.
"""

import inspect
from typing import Any

from flax import nnx
from jaxtyping import Array, Key

from limits import check_known
from models.adm import ADM
from models.autoencoder import AutoencoderKL, AutoencoderVQ
from models.categorical_unet import CategoricalUNet
from models.clip import CLIP
from models.cross_attention_unet import CrossAttentionUNet
from models.ddpm import DDPM
from models.edm_unet import EDMUNet
from models.glide import GLIDE
from models.guided_unet import GuidedUNet
from models.layers import Keys
from models.mlp import MLP
from models.ncsn import NCSN
from models.ncsnpp import NCSNpp
from models.ncsnv2 import NCSNv2, NCSNv2_128, NCSNv2_256
from models.noisy_classifier import NoisyClassifier
from models.patch_discriminator import PatchDiscriminator
from models.point_transformer import PointTransformer
from models.sequence_transformer import SequenceTransformer
from models.text_encoder import TextEncoder
from models.unet_1d import UNet1D
from models.unet_3d import UNet3D
from models.vae import VAE

MODELS: dict[str, type[Any]] = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "edm_unet": EDMUNet,
    "adm": ADM,
    "guided_unet": GuidedUNet,
    "glide": GLIDE,
    "cross_attention_unet": CrossAttentionUNet,
    "mlp": MLP,
    "unet_1d": UNet1D,
    "unet_3d": UNet3D,
    "point_transformer": PointTransformer,
    "ncsn": NCSN,
    "ncsnv2_64": NCSNv2,
    "ncsnv2_128": NCSNv2_128,
    "ncsnv2_256": NCSNv2_256,
    "noisy_classifier": NoisyClassifier,
    "autoencoder_kl": AutoencoderKL,
    "autoencoder_vq": AutoencoderVQ,
    "vae": VAE,
    "patch_discriminator": PatchDiscriminator,
    "text_encoder": TextEncoder,
    "clip": CLIP,
    "categorical_unet": CategoricalUNet,
    "sequence_transformer": SequenceTransformer,
}
"""The networks by name."""

CLASSIFIERS = ("noisy_classifier",)
"""Those whose answer is a class."""

DISCRIMINATORS = ("patch_discriminator",)
"""Those that a training makes for itself, beside the network of its config."""

AUTOENCODERS = ("autoencoder_kl", "autoencoder_vq", "vae")
"""Those that take images to a smaller grid, and back: they have the methods `encode` and `decode` too."""

GENERATORS = ("vae",)
"""Those whose latents are standard normal, so that what they decode of noise is a sample.

They have the method `likelihood` and the property `latent_shape` too.
"""

TEXT_ENCODERS = ("text_encoder",)
"""Those that read texts, and no images: their `module(variables)` is called with the numbers of tokens."""

MATCHERS = ("clip",)
"""Those that say how well images and texts fit: a logit for each image and each text."""

CATEGORICAL = ("categorical_unet", "sequence_transformer")
"""These are networks of categories: x is int32 [b, ...], and the answer the logits [b, ..., K] of K categories.

With the option `masked` they read one more, the mask, whose number is K."""


def modalities_of(name: str) -> tuple[str, ...] | None:
    """The modalities (`data.Source.modality`) whose examples the network of that name takes; None: any, as vectors.

    A network says so in its class; one that does not is of images.
    """
    return getattr(MODELS[name], "modalities", ("image",))


def takes_absent(name: str) -> bool:
    """Whether the network of that name takes sets of which points are absent, by condition["present"]."""
    return getattr(MODELS[name], "takes_absent", False)


def create(name: str, *, key: Key[Array, ""], **options: Any) -> nnx.Module:
    """Build the network `name` with weights drawn from `key`.

    All checks are made while building, so `jax.eval_shape` of this function makes them without computing anything.
    Raises ValueError for an unknown name, an unknown or missing option, or a value no network can be built from.
    """
    known = options_of(name)
    for option in options:
        check_known(f"option of {name}", option, known)
    parameters = inspect.signature(MODELS[name].__init__).parameters
    missing = [o for o in known if parameters[o].default is inspect.Parameter.empty and o not in options]
    if missing:
        raise ValueError(f"{name} needs the option {', '.join(missing)}; known: {', '.join(known)}")
    return MODELS[name](**options, rngs=Keys(key))


def options_of(name: str) -> dict[str, Any]:
    """The options of the network of that name and the type of each, as an annotation; ValueError: an unknown name."""
    check_known("network", name, MODELS)
    parameters = inspect.signature(MODELS[name].__init__).parameters
    return {option: p.annotation for option, p in parameters.items() if option not in ("self", "rngs")}
