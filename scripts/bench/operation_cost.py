"""What does one recorded operation cost over NumPy's own?

Multiplies two 10 x 10 float32 arrays: by NumPy, by minidl without recording, by minidl recording,
and by autograd, MyGrad and PyTorch (recording) where they are installed. The ways are timed in
turn, many rounds; the median round and its quartiles are printed, per operation.

    pip install autograd mygrad torch==2.13.0
    python scripts/bench/operation_cost.py
"""

from __future__ import annotations

import importlib.util
import statistics
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

NUMBER, ROUNDS = 20_000, 15


def autograd_way(x: Any, y: Any) -> Callable[[], object]:
    """HIPS/autograd: a box on a trace of its own, as inside ``grad``."""
    from autograd.core import VJPNode
    from autograd.numpy.numpy_boxes import ArrayBox

    leaf = ArrayBox(x, 0, VJPNode.new_root())
    return lambda: leaf * y


def mygrad_way(x: Any, y: Any) -> Callable[[], object]:
    """MyGrad: tensors, one of them a constant."""
    import mygrad

    leaf, constant = mygrad.tensor(x), mygrad.tensor(y, constant=True)
    return lambda: leaf * constant


def torch_way(x: Any, y: Any) -> Callable[[], object]:
    """PyTorch, on one thread."""
    import torch

    torch.set_num_threads(1)
    leaf, constant = torch.tensor(x, requires_grad=True), torch.tensor(y)
    return lambda: leaf * constant


def ways() -> dict[str, Callable[[], object]]:
    """Each way to multiply."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((10, 10)).astype(np.float32) for _ in range(2))
    leaf, constant = minidl.tensor(x, requires_grad=True), minidl.tensor(y)
    found: dict[str, Callable[[], object]] = {
        "numpy": lambda: x * y,
        "minidl, not recorded": lambda: constant * constant,
        "minidl, recorded": lambda: leaf * constant,
    }
    for peer in (autograd_way, mygrad_way, torch_way):
        name = peer.__name__.removesuffix("_way")
        if importlib.util.find_spec(name):
            found[f"{name}, recorded"] = peer(x, y)
        else:
            print(f"{name} is missing: not measured")
    return found


def main() -> None:
    """Measure and print."""
    measured = ways()
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, way in measured.items():
            times[name].append(timeit.timeit(way, number=NUMBER) / NUMBER * 1e6)
    floor = statistics.median(times["numpy"])
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        over = f"{middle - floor:+.2f} over numpy"
        print(f"{name:<22} {middle:6.2f} us  ({low:.2f} to {high:.2f})  {over}")


if __name__ == "__main__":
    main()
