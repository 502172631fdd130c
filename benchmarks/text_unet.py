"""One evaluation of a text-conditional U-Net as large as Stable Diffusion's, beside diffusers': seconds and memory.

python -m benchmarks.text_unet --repeats=5

The network of the config's options has random weights, latents of `--size` pixels a side and a text of `--tokens`
tokens. diffusers' UNet2DConditionModel takes part where the extra `benchmarks` is installed, of the same options, made
through the config.json that we would write for it. In bfloat16 the weights of both are of that type. Each contender has
a process of its own, so that its memory is its own: the interpreter, the libraries and the weights count in
`peak_bytes`. The two of a dtype are timed in turn within a round: a process computes when it is told to, and waits
otherwise. Baseline of each dtype: diffusers'.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.common import RESULTS, path_of, record, speedups, spread
from checkpoints.diffusers_text_unet import NETWORK, config_of
from experiment.progress import waiting
from limits import check_known
from models.functional import Network
from models.materialize import network_jit

LIBRARIES = ("ours", "diffusers")
DTYPES = ("float32", "bfloat16")


def network_of(options: argparse.Namespace) -> Network:
    """Our network, of the size that is asked for."""
    return Network.create(NETWORK, image_size=options.size, num_channels=4, **json.loads(options.model))


def inputs(network: Network, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents [b, h, w, c], noise labels [b] and texts [b, n, d], drawn at random."""
    random, module = np.random.default_rng(0), network.module(network.abstract())
    b, size = options.batch_size, options.size
    x = random.standard_normal((b, size, size, 4), np.float32)
    return x, np.full(b, 500.0, np.float32), random.standard_normal((b, options.tokens, module.text_dim), np.float32)


def ours(network: Network, options: argparse.Namespace, dtype: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A call that evaluates our network once, and what is known of its program."""
    x, c_noise, text = inputs(network, options)
    if dtype != "float32":
        network = Network.create(NETWORK, **dict(network.options), dtype=dtype)
    began = time.perf_counter()
    evaluate = network_jit(
        lambda variables, x, c_noise, text: network.apply(variables, x, c_noise, {"text": text}), dtype
    )
    variables = {collection: _drawn(named, dtype) for collection, named in network.abstract().items()}
    program = evaluate.lower(variables, x, c_noise, text).compile()
    memory = program.memory_analysis()
    facts = {
        "compile_seconds": time.perf_counter() - began,
        "program_bytes": memory.temp_size_in_bytes + memory.output_size_in_bytes,
        "parameters": network.count(),
    }
    return lambda: jax.block_until_ready(program(variables, x, c_noise, text)), facts


def _drawn(named: Mapping[str, jax.ShapeDtypeStruct], dtype: str) -> dict[str, jax.Array]:
    """Random weights, with which outputs are about as large as inputs."""
    random, found = np.random.default_rng(1), {}
    for name, leaf in named.items():
        deviation = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if name.endswith("kernel") else 0.1
        noise = random.standard_normal(leaf.shape, np.float32) * np.float32(deviation)
        found[name] = jnp.asarray(noise + np.float32(name.endswith("scale"))).astype(dtype)
    return found


def theirs(network: Network, options: argparse.Namespace, dtype: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A call that evaluates diffusers' network once, and its parameters."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    began = time.perf_counter()
    module = UNet2DConditionModel.from_config(config_of(network)).to(getattr(torch, dtype)).eval()
    x, c_noise, text = (torch.from_numpy(array).to(getattr(torch, dtype)) for array in inputs(network, options))
    x = x.permute(0, 3, 1, 2).contiguous()
    if options.channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

    def evaluate() -> Any:
        with torch.inference_mode():
            return module(x, c_noise, encoder_hidden_states=text, return_dict=False)[0]

    facts = {"make_seconds": time.perf_counter() - began, "parameters": sum(p.numel() for p in module.parameters())}
    return evaluate, facts


def serve(options: argparse.Namespace) -> dict[str, Any]:
    """Be one contender, in this process: evaluate once for each line that comes in, and say what that took."""
    library, dtype = options.only.split()
    evaluate, facts = {"ours": ours, "diffusers": theirs}[library](network_of(options), options, dtype)
    evaluate()
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        evaluate()
        seconds, processors = time.perf_counter() - began, time.process_time() - used
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "processor_seconds": processors, "peak_bytes": peak}), flush=True)
    return facts


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write the JSON and return it."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model", default="{}", help="options of the network as JSON; Stable Diffusion 1's by default")
    flags.add_argument("--size", type=int, default=64, help="a side of the latents")
    flags.add_argument("--tokens", type=int, default=77, help="of the text")
    flags.add_argument("--batch_size", type=int, default=2, help="of an evaluation")
    flags.add_argument("--repeats", type=int, default=5, help="rounds in which every contender is timed once")
    flags.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES), help="of weights and computation")
    flags.add_argument("--channels_last", action="store_true", help="diffusers' network in this memory format")
    flags.add_argument("--out", type=path_of, default=RESULTS / "text_unet.json", help="JSON")
    flags.add_argument("--only", default="", help="one contender, in this process, such as 'ours float32'")
    options = flags.parse_args(arguments)
    options.config = NETWORK  # what is measured, in the record
    if options.only:
        check_known("contender", options.only, [f"{library} {dtype}" for library in LIBRARIES for dtype in DTYPES])
        return serve(options)
    missing = [name for name in ("torch", "diffusers") if importlib.util.find_spec(name) is None]
    libraries = [library for library in LIBRARIES if not (library == "diffusers" and missing)]
    given = [f"--{name}={getattr(options, name)}" for name in ("model", "size", "tokens", "batch_size")]
    given += ["--channels_last"] * options.channels_last
    rows: dict[str, Any] = {}
    ratios: dict[str, dict[str, Any]] = {"seconds": {}, "processor_seconds": {}}
    for dtype in options.dtypes:
        contenders = [f"{library} {dtype}" for library in libraries]
        found, rounds = timed(contenders, given, options.repeats)
        for name in contenders:
            rows[name] = found[name] | {
                "seconds": spread([each["seconds"] for each in rounds[name]]),
                "median_seconds": float(np.median([each["seconds"] for each in rounds[name]])),
                "processor_seconds": float(np.median([each["processor_seconds"] for each in rounds[name]])),
                "peak_bytes": max(each["peak_bytes"] for each in rounds[name]),
            }
        for figure, than in ratios.items():
            than |= speedups({name: [each[figure] for each in rounds[name]] for name in contenders}, contenders[-1])
    return record(
        "text_unet",
        options,
        "random, not trained",
        f"{libraries[-1]}, of the same dtype",
        rows,
        ratios["seconds"],
        times_fewer_processor_seconds=ratios["processor_seconds"],
        libraries={name: version(name) for name in ("torch", "diffusers") if name not in missing},
        libraries_without=missing,
    )


def timed(contenders: Sequence[str], given: Sequence[str], repeats: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What each contender says of itself, and of each of its evaluations, one of each in a round."""
    processes, facts = {}, {}
    rounds: dict[str, list[Any]] = {name: [] for name in contenders}
    try:
        for name in contenders:
            command = [sys.executable, "-m", "benchmarks.text_unet", *given, f"--only={name}"]
            processes[name] = subprocess.Popen(
                command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            with waiting(f"first evaluation of {name}"):
                facts[name] = _answer(processes[name])
        with tqdm(total=repeats * len(contenders), desc="timing", unit="evaluation", dynamic_ncols=True) as progress:
            for _ in range(repeats):
                for name, process in processes.items():
                    progress.set_postfix_str(name)
                    print(file=process.stdin, flush=True)
                    rounds[name].append(_answer(process))
                    progress.update()
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return facts, rounds


def _answer(process: subprocess.Popen) -> dict[str, Any]:
    """The next line that a contender says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a contender ended with status {process.wait()}; its messages are above")
    return json.loads(line)


if __name__ == "__main__":
    main()
