"""minidl, as a user would write the step: eager, and by `minidl.compile`.

With numba in the environment the compiled kernels run, without it NumPy's. The variant ``floor`` is
no training at all: it is what BLAS alone takes for the matrix products of the case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl import models, nn, optim
from peers.cases import BETAS, EPS, LR, Case, batches, points, weights
from peers.products import products_alone

Step = Callable[[int], Any]

_MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "lenet5": (lambda: models.LeNet5(1), "layers."),
    "resnet8": (lambda: models.ResNet8(1), ""),
    "lstm": (lambda: models.LSTMClassifier(28), ""),
    "vit": (lambda: models.ViTTiny(1), ""),
}


def versions() -> dict[str, str]:
    """Say what runs."""
    try:
        import numba
    except ImportError:
        return {"minidl": minidl.__version__, "numba": "none"}
    return {"minidl": minidl.__version__, "numba": numba.__version__}


def settle() -> None:
    """Be as after some hundred steps, when numba has been loaded (see minidl.kernels.selection)."""
    from minidl.kernels import selection

    selection.Work.elements = selection.ENOUGH


def variants(case: Case) -> list[str]:
    """Name the ways."""
    compiles = hasattr(minidl, "compile")
    if case.kind in ("train", "predict"):
        return ["eager", *(["compiled"] if compiles else []), "floor"]
    ways = ["derivative", "grad"] if case.model == "scalar" else ["eager"]
    # What is compiled is recorded at the first call, so its first call is an eager one.
    return [*ways, *(["compiled"] if compiles and case.kind == "derivative" else [])]


def build(name: str) -> nn.Module:
    """Make a model with the weights that all systems begin with."""
    if name == "mlp":
        made: nn.Module = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        prefix = ""
    elif name == "cnn":
        made, prefix = (
            nn.Sequential(
                nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
            ),
            "",
        )  # fmt: skip
    else:
        make, prefix = _MODELS[name]
        made = make()
        made(np.zeros((2, 1, 28, 28), np.float32))  # sizes that follow from the input
    state = made.state_dict()
    state.update({prefix + key: value for key, value in weights(name).items()})
    made.load_state_dict(state)
    return made


def _training(case: Case, compiled: bool) -> Step:
    model, loss_of = build(case.model), nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=LR, betas=BETAS, eps=EPS)
    data = batches(case)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    taken = minidl.compile(step) if compiled else step
    return lambda i: float(taken(*data[i % len(data)]).item())


def _predicting(case: Case, compiled: bool) -> Step:
    model = build(case.model)
    model.eval()
    data = batches(case)
    forward = minidl.compile(model) if compiled else model

    def step(i: int) -> np.ndarray:
        with minidl.no_grad():
            return np.asarray(forward(data[i % len(data)][0]).numpy())

    return step


def rosenbrock(x: Any) -> Any:
    """Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def _derivative(case: Case, variant: str) -> Callable[[Any], Any]:
    if variant == "compiled":
        found = minidl.compile(_derivative(case, "grad"))
        return lambda x: found(np.asarray(x))  # a number would be a constant of the program
    if case.model == "scalar":
        if variant == "derivative":
            return lambda x: float(minidl.derivative(lambda x: x**3 + 2 * x, x))
        slope = minidl.grad(lambda x: x**3 + 2 * x)
        return slope
    return minidl.grad(rosenbrock) if case.model == "rosenbrock" else minidl.hessian(rosenbrock)


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case; the threads of BLAS are set by the environment."""
    if variant == "floor":
        return products_alone(case)
    if case.kind == "train":
        return _training(case, variant == "compiled")
    if case.kind == "predict":
        return _predicting(case, variant == "compiled")
    at = points(case)
    if case.kind == "first":
        return lambda i: np.asarray(_derivative(case, variant)(at[i % len(at)]))
    found = _derivative(case, variant)
    return lambda i: np.asarray(found(at[i % len(at)]))
