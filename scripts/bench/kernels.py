"""What do the compiled kernels (the extra ``fast``, numba) save, each alone and in a training step?

Every kernel that has a compiled version, on the arrays that `configs/mnist_cnn.yaml` and
`configs/mnist_mlp.yaml` give it, and the whole step of both (batch 128: forward, loss, backward,
AdamW, the loss read back). The two ways are timed in turn, in one process, so that a machine that
slows down slows down both. Prints medians, quartiles, and NumPy's median over the compiled one's;
compilation is not timed.

    python scripts/bench/kernels.py --rounds 31 --threads 1
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], object]


def threads_wanted() -> argparse.Namespace:
    """Read the command line, and set the threads of BLAS before NumPy is imported."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1, help="threads of BLAS")
    settings = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(settings.threads)
    return settings


def pooling(rng: Any, shape: tuple[int, ...]) -> dict[str, Call]:
    """Max pooling 2 x 2 of ``(N, H, W, C)``, its gradient, and the ReLU's before it."""
    import numpy as np

    from minidl.kernels import masking, pool

    laid = np.maximum(rng.standard_normal(shape), 0).astype(np.float32)
    x = laid.transpose(0, 3, 1, 2)
    how: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    top = pool.max_pool2d(x, **how)
    keep, named = x > 0, "x".join(str(length) for length in shape)
    return {
        f"max_pool2d {named}": lambda: pool.max_pool2d(x, **how),
        f"unpool {named}": lambda: pool.unpool(top, x, top, **how),
        f"masked {named}": lambda: masking.masked(x, keep),
    }


def convolving(
    rng: Any, shape: tuple[int, int, int], outputs: int, size: int, padding: int
) -> dict[str, Call]:
    """A convolution of 128 images ``(H, W, C)``, and its gradients."""
    import numpy as np

    from minidl.kernels import conv

    height, width, inputs = shape
    reach = 2 * padding + 1 - size
    x = rng.standard_normal((128, height, width, inputs), dtype=np.float32)
    g = rng.standard_normal((128, height + reach, width + reach, outputs), dtype=np.float32)
    x, g = (laid.transpose(0, 3, 1, 2) for laid in (x, g))
    weight = rng.standard_normal((outputs, inputs, size, size), dtype=np.float32)
    how: dict[str, Any] = {"stride": (1, 1), "padding": (padding, padding), "dilation": (1, 1)}
    kernel, named = (size, size), f"{inputs} to {outputs}, {size}x{size}, {height}x{width}"
    return {
        f"conv2d {named}": lambda: conv.conv2d(x, weight, None, **how),
        f"conv2d_weight {named}": lambda: conv.conv2d_weight(g, x, size=kernel, **how),
        f"conv2d_input {named}": lambda: conv.conv2d_input(g, weight, size=shape[:2], **how),
    }


def averaging(rng: Any, shape: tuple[int, ...]) -> dict[str, Call]:
    """Average pooling 2 x 2 of ``(N, H, W, C)``, and its gradient."""
    import numpy as np

    from minidl.kernels import pool

    x = rng.standard_normal(shape, dtype=np.float32).transpose(0, 3, 1, 2)
    how: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    how["count_include_pad"] = True
    g, named = pool.avg_pool2d(x, **how), "x".join(str(length) for length in shape)
    return {
        f"avg_pool2d {named}": lambda: pool.avg_pool2d(x, **how),
        f"spread {named}": lambda: pool.spread(g, image=x.shape[2:], **how),
    }


def updating(rng: Any) -> dict[str, Call]:
    """AdamW on as many parameters as the two models have."""
    import numpy as np

    from minidl.kernels import optimizers

    def update(length: int) -> Call:
        arrays = [rng.random(length, dtype=np.float32) for _ in range(4)]
        settings = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}
        return lambda: optimizers.adam(*arrays, step=3, decoupled=True, **settings)

    return {f"adam {length:,}": update(length) for length in (421_642, 535_818)}


def steps(rng: Any) -> dict[str, Call]:
    """Whole training steps of the two networks."""
    import numpy as np

    import minidl
    from minidl import nn, optim

    def pooled(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2)]

    def hidden(inputs: int, outputs: int, p: float) -> list[Any]:
        return [nn.Linear(inputs, outputs, rng=rng), nn.ReLU(), nn.Dropout(p, rng=rng)]

    cnn = nn.Sequential(
        *pooled(1, 32),
        *pooled(32, 64),
        nn.Flatten(),
        *hidden(3136, 128, 0.25),
        nn.Linear(128, 10, rng=rng),
    )
    mlp = nn.Sequential(
        nn.Flatten(), *hidden(784, 512, 0.2), *hidden(512, 256, 0.2), nn.Linear(256, 10, rng=rng)
    )
    x = minidl.tensor(rng.standard_normal((128, 1, 28, 28), dtype=np.float32))
    labels = rng.integers(0, 10, 128)

    def step(model: Any) -> Call:
        optimizer, loss_of = optim.AdamW(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()

        def run() -> float:
            optimizer.zero_grad()
            loss = loss_of(model(x), labels)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return run

    return {"step of mnist_cnn": step(cnn), "step of mnist_mlp": step(mlp)}


def seconds(call: Call, mode: str) -> float:
    """Time one call with a choice of kernels."""
    from minidl.kernels.selection import use_kernels

    with use_kernels(mode):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def described(values: list[float]) -> str:
    """Write median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles([1000 * value for value in values], n=4)
    return f"{middle:8.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Measure and print."""
    settings = threads_wanted()
    import numpy as np

    has_numba = importlib.util.find_spec("numba") is not None
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    if has_numba:
        import numba

        versions.append(f"numba {numba.__version__}")
    print(
        ", ".join(versions)
        + f"; BLAS threads: {settings.threads}, kernels: 1; {os.cpu_count()} CPUs"
    )
    if not has_numba:
        print("numba is missing: NumPy's kernels only (pip install 'minidl[fast]')")
    modes = ["numpy", "compiled"] if has_numba else ["numpy"]
    rng = np.random.default_rng(0)
    cases = pooling(rng, (128, 28, 28, 32)) | pooling(rng, (128, 14, 14, 64))
    cases |= averaging(rng, (128, 28, 28, 6)) | convolving(rng, (28, 28, 1), 6, 5, 2)
    cases |= convolving(rng, (28, 28, 1), 32, 3, 1) | convolving(rng, (14, 14, 32), 64, 3, 1)
    cases |= updating(rng) | steps(rng)
    print(f"{'ms':<36}" + "".join(f"{mode:<30}" for mode in modes) + "ratio")
    for name, call in cases.items():
        times: dict[str, list[float]] = {mode: [] for mode in modes}
        for round_number in range(settings.rounds + 2):
            for mode in modes:
                taken = seconds(call, mode)
                if round_number >= 2:  # the first compile, load, and fill caches
                    times[mode].append(taken)
        line = "".join(f"{described(values):<30}" for values in times.values())
        medians = [statistics.median(values) for values in times.values()]
        print(f"{name:<36}{line}" + (f"{medians[0] / medians[1]:5.2f}" if has_numba else ""))


if __name__ == "__main__":
    main()
