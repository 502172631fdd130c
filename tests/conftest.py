"""Set before JAX is imported: the CPU, eight virtual devices, and run-time checks of the array annotations."""

import os
from collections.abc import Iterator

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
_DEVICES = "--xla_force_host_platform_device_count"
if _DEVICES not in os.environ.get("XLA_FLAGS", ""):  # a worker of pytest-xdist inherits it
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DEVICES}=8".strip()

import jax  # noqa: E402
import jaxtyping  # noqa: E402

# Of the samplers what handles arrays; in the tables of coefficients, Python numbers, checks would cost most time.
ARRAYS = ("ancestral", "base", "create", "euler_maruyama", "flow", "langevin", "linear", "ode", "reverse_diffusion")
jaxtyping.install_import_hook(["sde_lib", "inverse", *(f"samplers.{name}" for name in ARRAYS)], "beartype.beartype")


COSTLY_FIXTURES = ("test_resume.py", "test_killed.py", "test_end_to_end.py", "test_published_steps.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules whose fixture takes long come first: workers steal from the end, so none is made by two of them."""
    items.sort(key=lambda item: item.path.name not in COSTLY_FIXTURES)


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 within one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test once in float32 and once, under x64, in float64; the value is the dtype's name."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param
