"""The child that runs torch: a stage's network as it is, or a product of two matrices. See `ganlet.device.rounds`."""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganlet.artifact import load_stage
from ganlet.device.footprint import one_call
from ganlet.device.rounds import Call, Ready, own_output, serve
from ganlet.export.flop import METADATA_KEY
from ganlet.verify.torch_runner import TorchRunner


def stage_call(folder: Path, batch: int) -> tuple[Call, Ready]:
    """One call of `batch` pictures of the stage in `folder`."""
    started = time.perf_counter()
    runner = TorchRunner.of_stage(load_stage(folder))
    load_ms = (time.perf_counter() - started) * 1e3
    # torch counts every product of convolutions and matrices, zero padding included.
    with FlopCounterMode(display=False) as counter:
        one_call(runner, 1)()
    metadata = {METADATA_KEY: str(counter.get_total_flops())}
    return one_call(runner, batch), {"provider": _torch(), "load_ms": load_ms, "metadata": metadata}


def matmul_call(side: int) -> tuple[Call, Ready]:
    """One product of two float32 matrices (side, side)."""
    a, b = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0))
    return lambda: a @ b, {"provider": _torch()}


def _torch() -> str:
    return f"torch {torch.__version__}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ganlet.commands.bench.eager", description=__doc__)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--matmul", type=int, metavar="SIDE")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int)
    told = parser.parse_args()
    if told.threads is not None:
        torch.set_num_threads(told.threads)
    if told.matmul:
        return serve(lambda: matmul_call(told.matmul), sys.stdin, own_output())
    return serve(lambda: stage_call(told.path, told.batch), sys.stdin, own_output())


if __name__ == "__main__":
    sys.exit(main())
