"""SDEs by name: what is built, and what an error says."""

import jax.numpy as jnp
import pytest

import sde_lib
from sde_lib import VE, VP, CosineBeta, LinearBeta, SubVP


def test_create_builds_what_is_asked() -> None:
    assert sde_lib.create("vp", beta_min=0.2, beta_max=10.0) == VP(LinearBeta(0.2, 10.0))
    assert sde_lib.create("subvp") == SubVP()
    assert sde_lib.create("vp", schedule="cosine", t_max=0.99, t_min=1e-4) == VP(CosineBeta(t_max=0.99), t_min=1e-4)
    assert sde_lib.create("ve", sigma_max=380.0) == VE(sigma_max=380.0)
    assert float(sde_lib.create("ve", sigma_max=380.0).sigma(jnp.ones(()))) == pytest.approx(380.0, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vpe", {}, r"'vpe'.*subvp, vdm, ve, vp"),
        ("ve", {"sigma_mx": 50.0}, r"'sigma_mx'.*sigma_max, sigma_min"),
        ("vp", {"beta_mx": 20.0}, r"'beta_mx'.*beta_max, beta_min"),
        ("vp", {"schedule": "cosin"}, r"'cosin'.*did you mean 'cosine'.*cosine, linear"),
        ("vp", {"schedule": 3}, r"unknown sde\.schedule 3; known: cosine, linear"),
        ("vp", {"schedule": ["cosine"], "s": 0.1}, r"\['cosine'\].*known: cosine, linear"),
        ("vp", {"t_mn": 0.1}, r"'t_mn'.*did you mean 't_min'.*beta_max, beta_min, schedule, t_min"),
        ("vp", {"schedule": "cosine", "beta_max": 20.0}, r"'beta_max'.*s, schedule, t_max"),
        ("vp", {"beta_min": 30.0}, r"beta_min 30\.0.*allowed"),
        ("vp", {"beta_min": -1.0}, r"beta_min is -1\.0.*at least 0"),
        ("vp", {"beta_min": 0.0, "beta_max": 0.0}, r"beta_max is 0\.0.*above 0"),
        ("vp", {"schedule": "cosine", "t_max": 1.0}, r"t_max is 1\.0.*below 1"),
        ("ve", {"sigma_min": 0.0}, r"sigma_min is 0\.0.*above 0"),
        ("ve", {"sigma_max": 0.001}, r"sigma_max 0\.001.*allowed"),
        ("vp", {"t_min": 0.0}, r"t_min is 0\.0.*above 0 and below 1"),
        ("subvp", {"t_min": 1.0}, r"t_min is 1\.0.*above 0 and below 1"),
        ("ve", {"t_min": -1e-5}, r"t_min is -1e-05.*above 0 and below 1"),
    ],
)
def test_errors_name_what_was_given_and_what_is_allowed(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        sde_lib.create(name, **options)
    assert "\n" not in str(error.value)
