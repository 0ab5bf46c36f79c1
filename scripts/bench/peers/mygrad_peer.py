"""MyGrad, with its guards of memory off, as its documentation advises for speed.

It has first derivatives only, and no average pooling, batch norm or LSTM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

from peers.cases import Case, batches, points, weights
from peers.numpy_adam import FlatAdam

Step = Callable[[int], Any]

mygrad.turn_memory_guarding_off()


def versions() -> dict[str, str]:
    """Say what runs."""
    return {"mygrad": mygrad.__version__}


def variants(case: Case) -> list[str]:
    """Name the ways."""
    return ["eager"] if case.model in ("mlp", "cnn", "scalar", "rosenbrock") else []


def _dense(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def mlp(p: Any, x: Any) -> Any:
    """784-256-128-10."""
    for name in ("0", "2"):
        x = relu(_dense(p, name, x))
    return _dense(p, "4", x)


def cnn(p: Any, x: Any) -> Any:
    """Two convolutions, two linear layers."""
    for name in ("0", "3"):
        y = conv_nd(x, p[f"{name}.weight"], stride=1, padding=1)
        y = y + p[f"{name}.bias"].reshape(-1, 1, 1)
        x = max_pool(relu(y), (2, 2), 2)
    return _dense(p, "9", relu(_dense(p, "7", x.reshape(x.shape[0], -1))))


_MODELS = {"mlp": mlp, "cnn": cnn}


def _training(case: Case) -> Step:
    optimizer, data = FlatAdam(weights(case.model)), batches(case)
    model = _MODELS[case.model]

    def step(i: int) -> float:
        x, labels = data[i % len(data)]
        p = {name: mygrad.tensor(view, copy=False) for name, view in optimizer.views.items()}
        loss = softmax_crossentropy(model(p, x), labels)
        loss.backward()
        optimizer.step({name: tensor.grad for name, tensor in p.items()})
        return float(loss.item())

    return step


def _predicting(case: Case) -> Step:
    p, data, model = weights(case.model), batches(case), _MODELS[case.model]
    p = {name: mygrad.tensor(value, constant=True) for name, value in p.items()}

    def step(i: int) -> np.ndarray:
        with mygrad.no_autodiff:
            return np.asarray(model(p, mygrad.tensor(data[i % len(data)][0], constant=True)).data)

    return step


def _derivative(case: Case, x: Any) -> Any:
    leaf = mygrad.tensor(x)
    if case.model == "scalar":
        out = leaf**3 + 2 * leaf
    else:
        out = (100.0 * (leaf[1:] - leaf[:-1] ** 2) ** 2 + (1.0 - leaf[:-1]) ** 2).sum()
    out.backward()
    return leaf.grad


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case; the threads of BLAS are set by the environment."""
    if case.kind == "train":
        return _training(case)
    if case.kind == "predict":
        return _predicting(case)
    at = points(case)
    return lambda i: _derivative(case, at[i % len(at)])
