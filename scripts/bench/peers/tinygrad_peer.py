"""tinygrad on its CPU device, every step captured by `TinyJit`. It wants clang.

Its search for faster kernels (BEAM) is off: it takes minutes a model. It has no second derivatives
of its own, and the LSTM unrolled over 28 rows does not compile in the time that a case has.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

if shutil.which("clang") is None:
    raise ImportError("tinygrad compiles its kernels by clang, which is not on the PATH")

from tinygrad import Tensor, TinyJit, dtypes
from tinygrad.helpers import Context
from tinygrad.nn.optim import Adam

from peers.cases import BETAS, EPS, EPS_NORM, LR, Case, batches, points, weights

Step = Callable[[int], Any]
Parameters = dict[str, Any]


def versions() -> dict[str, str]:
    """Say what runs."""
    return {"tinygrad": version("tinygrad")}


def variants(case: Case) -> list[str]:
    """Name the ways."""
    if case.model in ("hessian", "lstm"):
        return []
    return ["jit"]


def _dense(p: Parameters, name: str, x: Any) -> Any:
    return x.linear(p[f"{name}.weight"].T, p[f"{name}.bias"])


def mlp(p: Parameters, x: Any) -> Any:
    """784-256-128-10."""
    return _dense(p, "4", _dense(p, "2", _dense(p, "0", x).relu()).relu())


def cnn(p: Parameters, x: Any) -> Any:
    """Two convolutions, two linear layers."""
    for name in ("0", "3"):
        y = x.conv2d(p[f"{name}.weight"], p[f"{name}.bias"], padding=1)
        x = y.relu().max_pool2d((2, 2))
    return _dense(p, "9", _dense(p, "7", x.flatten(1)).relu())


def lenet5(p: Parameters, x: Any) -> Any:
    """LeNet-5."""
    for name, padding in (("0", 2), ("3", 0)):
        y = x.conv2d(p[f"{name}.weight"], p[f"{name}.bias"], padding=padding)
        x = y.tanh().avg_pool2d((2, 2))
    x = x.flatten(1)
    for name in ("7", "9"):
        x = _dense(p, name, x).tanh()
    return _dense(p, "11", x)


def resnet8(p: Parameters, x: Any, running: Parameters) -> Any:
    """ResNet-8; ``running`` are batch norm's statistics, which are part of the work."""

    def norm(x: Any, name: str) -> Any:
        mean = x.mean((0, 2, 3), keepdim=True)
        var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        count = x.shape[0] * x.shape[2] * x.shape[3]
        for part, now in (("mean", mean), ("var", var * (count / (count - 1)))):
            kept = running[f"{name}.{part}"]
            kept.assign(0.9 * kept + 0.1 * now.detach().reshape(-1))
        scale, shift = (p[f"{name}.{part}"].reshape(1, -1, 1, 1) for part in ("weight", "bias"))
        return (x - mean) * (var + EPS_NORM).rsqrt() * scale + shift

    x = norm(x.conv2d(p["conv1.weight"], padding=1), "bn1").relu()
    for at in ("layer1.0", "layer2.0", "layer3.0"):
        turned = f"{at}.downsample.0.weight"
        stride = 2 if turned in p else 1
        y = norm(x.conv2d(p[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1").relu()
        y = norm(y.conv2d(p[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
        if turned in p:
            x = norm(x.conv2d(p[turned], stride=stride), f"{at}.downsample.1")
        x = (x + y).relu()
    return _dense(p, "fc", x.mean((2, 3)))


def vit(p: Parameters, x: Any) -> Any:
    """Four pre-norm layers of width 64."""
    n = x.shape[0]

    def norm(x: Any, name: str) -> Any:
        return x.layernorm(eps=EPS_NORM) * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = x.conv2d(p["patches.weight"], p["patches.bias"], stride=4).flatten(2).transpose(1, 2)
    words = p["token.weight"].expand(n, 1, 64).cat(x, dim=1) + p["positions.weight"]
    for layer in range(4):
        at, own = f"layers.{layer}", f"layers.{layer}.self_attn."
        x = norm(words, f"{at}.norm1").linear(p[own + "in_proj_weight"].T, p[own + "in_proj_bias"])
        q, k, v = (part.reshape(n, 50, 4, 16).transpose(1, 2) for part in x.chunk(3, dim=-1))
        mixed = q.scaled_dot_product_attention(k, v).transpose(1, 2).reshape(n, 50, 64)
        words = words + _dense(p, own + "out_proj", mixed)
        x = _dense(p, f"{at}.linear1", norm(words, f"{at}.norm2"))
        x = 0.5 * x * (1 + (x / math.sqrt(2.0)).erf())  # its own gelu is the one by tanh
        words = words + _dense(p, f"{at}.linear2", x)
    return _dense(p, "head", norm(words[:, 0], "norm"))


_MODELS: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lenet5": lenet5,
    "resnet8": resnet8,
    "vit": vit,
}


def _loaded(case: Case) -> tuple[Parameters, list[tuple[Any, Any]]]:
    made = {name: Tensor(value).realize() for name, value in weights(case.model).items()}
    data = [
        (Tensor(x).realize(), Tensor(y.astype(np.int32), dtype=dtypes.int32).realize())
        for x, y in batches(case)
    ]
    return made, data


def _training(case: Case) -> Step:
    p, data = _loaded(case)
    for tensor in p.values():
        tensor.is_param_(True)
    params = list(p.values())
    running = {}
    if case.model == "resnet8":
        norms = [name for name in p if name.endswith(".bias") and name != "fc.bias"]
        for name in norms:
            for part in ("mean", "var"):
                kept = Tensor.zeros(*p[name].shape).clone().realize()
                running[name.removesuffix("bias") + part] = kept
    optimizer = Adam(params, lr=LR, b1=BETAS[0], b2=BETAS[1], eps=EPS)
    forward = _MODELS[case.model]

    @TinyJit
    def step(x: Any, labels: Any) -> Any:
        logits = forward(p, x, running) if running else forward(p, x)
        loss = logits.sparse_categorical_crossentropy(labels)
        for tensor, grad in zip(params, loss.gradient(*params), strict=True):
            tensor.grad = grad
        return loss.realize(*optimizer.schedule_step(), *running.values())

    def run(i: int) -> float:
        with Context(TRAINING=1):
            return float(step(*data[i % len(data)]).item())

    return run


def _predicting(case: Case) -> Step:
    p, data = _loaded(case)
    forward = TinyJit(lambda x: _MODELS[case.model](p, x).realize())
    return lambda i: forward(data[i % len(data)][0]).numpy()


def _derivative(case: Case) -> Callable[[Any], Any]:
    def found(leaf: Any) -> Any:
        if case.model == "scalar":
            out = leaf**3 + 2 * leaf
        else:
            out = (100.0 * (leaf[1:] - leaf[:-1] ** 2) ** 2 + (1.0 - leaf[:-1]) ** 2).sum()
        return out.gradient(leaf)[0].realize()

    return TinyJit(found)  # type: ignore[no-any-return]


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case; the threads are set by the environment."""
    if case.kind == "train":
        return _training(case)
    if case.kind == "predict":
        return _predicting(case)
    at = [Tensor(np.asarray(where, np.float32)).clone().realize() for where in points(case)]
    if case.kind == "first":
        return lambda i: _derivative(case)(at[i % len(at)]).numpy()
    found = _derivative(case)
    return lambda i: found(at[i % len(at)]).numpy()
