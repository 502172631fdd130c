"""Set before JAX computes: the CPU, eight virtual devices, run-time checks of the array annotations, a shared cache."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# The passes that LLVM calls expensive make programs faster, no other; they take a quarter of the tests' time.
FLAGS = {"--xla_force_host_platform_device_count": "8", "--xla_llvm_disable_expensive_passes": "true"}
_GIVEN = os.environ.get("XLA_FLAGS", "").split()  # a worker of pytest-xdist inherits them
_ADDED = [f"{flag}={value}" for flag, value in FLAGS.items() if not any(given.startswith(flag) for given in _GIVEN)]
os.environ["XLA_FLAGS"] = " ".join([*_GIVEN, *_ADDED])

import jax  # noqa: E402
import jaxtyping  # noqa: E402

from tests import typechecker  # noqa: E402

# Of some rooms what handles arrays alone: in the samplers' tables of coefficients, Python numbers, checks would cost
# most time; the networks' constructors and calls, and the sources, refuse wrong arguments themselves, in words.
ROOMS = ("sde_lib", "inverse", "conditions", "autoencoders")
ARRAYS = {
    "samplers": "ancestral base create euler_maruyama flow langevin linear ode reverse_diffusion",
    "models": "attention blocks convolution layers materialize refinenet resample",
    "data": "augment geometry",
}
CHECKED = [*ROOMS, *(f"{room}.{name}" for room, names in ARRAYS.items() for name in names.split())]
jaxtyping.install_import_hook(CHECKED, f"{typechecker.__name__}.checked")


# Compiling takes most of the tests' time. What takes longer than a moment is kept by JAX, which finds it by everything
# that it depends on: the workers share it, and the next run has it. Processes that tests start have their own caches.
CACHE = Path(__file__).parents[1] / ".jax_cache" / "tests"
if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


COSTLY_FIXTURES = ("test_resume.py", "test_killed.py", "test_end_to_end.py", "test_published_steps.py")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The cache stays below the limit of a run's own; one worker more or less makes no difference."""
    if CACHE.is_dir() and not hasattr(session.config, "workerinput"):
        from experiment import compilation_cache

        compilation_cache.sweep(CACHE, compilation_cache.LIMIT)


def pytest_collection_finish() -> None:
    """What was imported and collected is no garbage: passing over it again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


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
