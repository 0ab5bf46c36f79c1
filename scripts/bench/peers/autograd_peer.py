"""HIPS/autograd: NumPy functions, traced anew at every step.

It has no layers and no optimizer, and its convolution (for SciPy's) takes minutes a step, so the
cases are the MLP, the LSTM and the derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from peers.cases import Case, batches, points, weights
from peers.numpy_adam import FlatAdam

Step = Callable[[int], Any]


def versions() -> dict[str, str]:
    """Say what runs."""
    return {"autograd": version("autograd")}


def variants(case: Case) -> list[str]:
    """Name the ways."""
    return ["eager"] if case.model in ("mlp", "lstm") or case.batch == 0 else []


def _dense(p: Any, name: str, x: Any) -> Any:
    return anp.dot(x, p[f"{name}.weight"].T) + p[f"{name}.bias"]


def mlp(p: Any, x: Any) -> Any:
    """784-256-128-10."""
    for name in ("0", "2"):
        x = anp.maximum(_dense(p, name, x), np.float32(0))
    return _dense(p, "4", x)


def _sigmoid(x: Any) -> Any:
    half = np.float32(0.5)
    return half * (anp.tanh(half * x) + np.float32(1))


def lstm(p: Any, x: Any) -> Any:
    """One layer over the rows."""
    r, rows = "recurrent.", x[:, 0]
    hidden = cell = np.zeros((len(x), 128), np.float32)
    bias = p[r + "bias_ih_l0"] + p[r + "bias_hh_l0"]
    for t in range(28):
        gates = anp.dot(rows[:, t], p[r + "weight_ih_l0"].T) + bias
        gates = gates + anp.dot(hidden, p[r + "weight_hh_l0"].T)
        both = _sigmoid(gates[:, :256])
        cell = both[:, 128:] * cell + both[:, :128] * anp.tanh(gates[:, 256:384])
        hidden = _sigmoid(gates[:, 384:]) * anp.tanh(cell)
    return _dense(p, "head", hidden)


_MODELS = {"mlp": mlp, "lstm": lstm}


def _loss(p: Any, x: Any, labels: np.ndarray, model: Callable[..., Any]) -> Any:
    logits = model(p, x)
    shifted = logits - anp.max(logits, axis=1, keepdims=True)
    logs = shifted - anp.log(anp.sum(anp.exp(shifted), axis=1, keepdims=True))
    return -anp.mean(logs[np.arange(len(labels)), labels])


def _training(case: Case) -> Step:
    optimizer, data = FlatAdam(weights(case.model)), batches(case)
    both = autograd.value_and_grad(_loss)
    model = _MODELS[case.model]

    def step(i: int) -> float:
        loss, grads = both(optimizer.views, *data[i % len(data)], model)
        optimizer.step(grads)
        return float(loss)

    return step


def rosenbrock(x: Any) -> Any:
    """Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²."""
    return anp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def _derivative(case: Case) -> Callable[[Any], Any]:
    if case.model == "scalar":
        return autograd.grad(lambda x: x**3 + 2 * x)  # type: ignore[no-any-return]
    if case.model == "rosenbrock":
        return autograd.grad(rosenbrock)  # type: ignore[no-any-return]
    return autograd.hessian(rosenbrock)  # type: ignore[no-any-return]


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case; the threads of BLAS are set by the environment."""
    if case.kind == "train":
        return _training(case)
    if case.kind == "predict":
        p, data, model = weights(case.model), batches(case), _MODELS[case.model]
        return lambda i: model(p, data[i % len(data)][0])
    at = points(case)
    if case.kind == "first":
        return lambda i: _derivative(case)(at[i % len(at)])
    found = _derivative(case)
    return lambda i: found(at[i % len(at)])
