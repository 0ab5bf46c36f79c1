"""What does a gradient cost, as a multiple of the value?

The cheap gradient principle (W. Baur, V. Strassen, "The complexity of partial derivatives", 1983)
says that reverse mode needs at most a small multiple of the operations of the function itself,
however many inputs it has. Timed in turn, many rounds: the value alone, and value and gradient, of
the sum of an MLP's output, of a convolution's, and of a scalar function of 10, 10³ and 10⁶ inputs.
The median ratio and its quartiles are printed. Parameters and inputs are differentiated alike.

    python scripts/bench/cheap_gradient.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional


def cases() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Each function with the arguments it is differentiated in."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32) / math.sqrt(shape[-1])

    def mlp(x: Any, *weights: Any) -> Any:
        for weight in weights:
            x = minidl.tanh(functional.linear(x, weight))
        return x.sum()

    def convolution(x: Any, weight: Any, bias: Any) -> Any:
        return functional.conv2d(x, weight, bias, padding=1).sum()

    def rosenbrock(x: Any) -> Any:
        ahead, behind = x[1:], x[:-1]
        return (100.0 * (ahead - behind * behind) ** 2 + (1.0 - behind) ** 2).sum()

    found: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "MLP 784-256-128-10, batch 128": (
            mlp,
            (draw(128, 784), draw(256, 784), draw(128, 256), draw(10, 128)),
        ),
        "convolution 32 to 64, 3x3, 32 images 14x14": (
            convolution,
            (draw(32, 32, 14, 14), draw(64, 32, 3, 3), draw(64)),
        ),
    }
    for size in (10, 1_000, 1_000_000):
        found[f"Rosenbrock, {size:,} inputs"] = rosenbrock, (rng.standard_normal(size),)
    return found


def seconds(function: Callable[[], Any], number: int) -> float:
    """Time of one call, the mean over ``number``."""
    start = time.perf_counter()
    for _ in range(number):
        function()
    return (time.perf_counter() - start) / number


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    print(f"{'':<44}{'value':>12}{'both':>12}   ratio (quartiles)")
    for name, (function, args) in cases().items():
        both = minidl.value_and_grad(function, tuple(range(len(args))))
        boxed = tuple(minidl.Tensor(arg) for arg in args)
        ways = (lambda: function(*boxed), lambda: both(*args))  # noqa: B023
        number = max(1, int(0.02 / max(seconds(ways[1], 2), 1e-7)))
        times = [[seconds(way, number) for way in ways] for _ in range(rounds)]
        low, ratio, high = statistics.quantiles([b / v for v, b in times], n=4)
        value, total = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{name:<44}{value * 1e3:>9.3f} ms{total * 1e3:>9.3f} ms   "
            f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
