"""What does one recorded operation cost over NumPy's own?

Multiplies two 10 x 10 float32 arrays: by NumPy, by minidl without recording, by minidl recording,
and by PyTorch (recording) where it is installed. The ways are timed in turn, many rounds; the
median round and its quartiles are printed, per operation.

    python scripts/bench/operation_cost.py
"""

from __future__ import annotations

import importlib.util
import statistics
import timeit
from collections.abc import Callable

import numpy as np

import minidl

NUMBER, ROUNDS = 20_000, 15


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
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        first, second = torch.tensor(x, requires_grad=True), torch.tensor(y)
        found["torch, recorded"] = lambda: first * second
    else:
        print("torch is missing: not measured")
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
