"""main.py as a person runs it, in a process of its own or within the test's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver

import main
from experiment import compilation_cache

ROOT = Path(__file__).parents[2]
TINY = (  # digits with the smallest network
    "--config=configs/vp/digits.py",
    "--config.model.nf=4",
    "--config.model.ch_mult=(1,)",
    "--config.model.attn_resolutions=()",
    "--config.model.num_res_blocks=1",
    "--config.training.batch_size=16",
    "--config.training.snapshot_sampling=False",
)


def start(*arguments: str, devices: int = 1, cache: Path | None = None, platform: str = "cpu") -> subprocess.Popen:
    """`python main.py ...` on so many virtual CPU devices; compiled programs are shared through `cache`."""
    environment = os.environ | {
        "JAX_PLATFORMS": platform,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0",
        "PYTHONUNBUFFERED": "1",
    }
    if cache:
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "main.py", *arguments], cwd=ROOT, env=environment, **pipes)


def run(*arguments: str, devices: int = 1, cache: Path | None = None, platform: str = "cpu") -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    process = start(*arguments, devices=devices, cache=cache, platform=platform)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def call(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the same command within this process, without a folder of compiled programs."""
    import modes  # noqa: F401  (libraries define flags when they are imported, which must outlive the saver's)

    capsys.readouterr()
    code = 0
    with pytest.MonkeyPatch.context() as patch, flagsaver.flagsaver():
        patch.setattr(sys, "argv", ["main.py", *arguments])
        patch.setattr(compilation_cache, "enable", lambda beside: None)
        try:
            main.main(main.parse(sys.argv))
        except SystemExit as stop:
            code = stop.code
    return code, *capsys.readouterr()


def contents(folder: Path) -> dict[str, tuple[bytes, int]] | None:
    """Every file below, its bytes and when it was written; None where there is no folder."""
    if not folder.exists():
        return None
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns) for p in paths}
