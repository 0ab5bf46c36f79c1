"""Optimizers that PyTorch lacks, against their formulas written as loops; and L-BFGS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trajectories import agree, gradient, initial, ours, run

import minidl
from minidl import nn, optim

Step = Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray]


def adabelief(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    p = p * (1 - 0.05 * 0.1)
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["s"] = 0.999 * s.get("s", 0) + 0.001 * (g - s["m"]) ** 2 + 1e-16
    return p - 0.05 * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["s"] / (1 - 0.999**t)) + 1e-16)


def lion(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    m = s.get("m", np.zeros_like(g))
    s["m"] = 0.99 * m + 0.01 * g
    return p - 0.01 * (np.sign(0.9 * m + 0.1 * g) + 0.1 * p)


def oadam(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    s["m"] = 0.5 * s.get("m", 0) + 0.5 * g
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g * g
    term = 0.02 * (s["m"] / (1 - 0.5**t)) / (np.sqrt(s["v"] / (1 - 0.9**t)) + 1e-8)
    new = p - 2 * term + s.get("term", 0)
    s["term"] = term
    return new


def lamb(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    u = (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-6) + 0.1 * p
    a, b = np.linalg.norm(p), np.linalg.norm(u)
    return p - 0.02 * (a / b if a > 0 and b > 0 else 1.0) * u


def lars(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    a, b = np.linalg.norm(p), np.linalg.norm(g)
    rate = 0.1 * a / (b + 0.1 * a) if a > 0 and b > 0 else 1.0
    s["b"] = 0.9 * s.get("b", 0) + rate * (g + 0.1 * p)
    return p - 0.5 * s["b"]


def muon(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    p = p * (1 - 0.02 * 0.1)
    if p.ndim < 2 or p.size == 0:
        s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
        s["v"] = 0.95 * s.get("v", 0) + 0.05 * g * g
        return p - 0.02 * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.95**t)) + 1e-8)
    s["b"] = 0.95 * s.get("b", 0) + g
    x = (g + 0.95 * s["b"]).reshape(len(p), -1)
    ratio = np.sqrt(max(1, x.shape[0] / x.shape[1]))
    # By singular values: the iteration acts on each of them alone.
    u, d, v = np.linalg.svd(x, full_matrices=False)
    d = d / np.linalg.norm(d)
    for _ in range(5):
        d = 3.4445 * d - 4.775 * d**3 + 2.0315 * d**5
    return p - 0.02 * ratio * ((u * d) @ v).reshape(p.shape)


def amsgrad(p: Any, g: Any, s: dict[str, Any], t: int) -> Any:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    s["most"] = np.maximum(s.get("most", 0), s["v"])
    return p - 0.05 * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["most"] / (1 - 0.999**t)) + 1e-8)


CASES: list[tuple[Callable[[Any], Any], Step]] = [
    (lambda p: optim.AdaBelief(p, lr=0.05, weight_decay=0.1), adabelief),
    (lambda p: optim.Lion(p, lr=0.01, weight_decay=0.1), lion),
    (lambda p: optim.OAdam(p, lr=0.02), oadam),
    (lambda p: optim.LAMB(p, lr=0.02, weight_decay=0.1), lamb),
    (lambda p: optim.LARS(p, lr=0.5, weight_decay=0.1, trust_coefficient=0.1), lars),
    (lambda p: optim.Muon(p, lr=0.02), muon),
    (lambda p: optim.AMSGrad(p, lr=0.05), amsgrad),
]


@pytest.mark.parametrize(("build", "formula"), CASES, ids=[case[1].__name__ for case in CASES])
def test_trajectory_is_that_of_the_formula(build: Any, formula: Step) -> None:
    parameters = ours()
    found = run(build(parameters), parameters, range(100))
    values, states = initial(), [{} for _ in initial()]
    expected = []
    for step in range(100):
        for i, value in enumerate(values):
            g = gradient(value, step, i)
            values[i] = np.asarray(formula(value, g, states[i], step + 1))
        expected.append(np.concatenate([v.ravel() for v in values]))
    agree(found, expected, tolerance=1e-8)


def plain(value: Any) -> Any:
    """State with arrays in place of PyTorch's tensors."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.numpy().copy() if hasattr(value, "numpy") else value


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.02, "momentum": 0.8, "nesterov": False, "weight_decay": 0.3},
        {"lr": 0.02, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
    ],
)
def test_muon_is_that_of_torch_but_for_bfloat16(
    torch: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    # PyTorch iterates in bfloat16, of three digits; kept in float64, its path is this one.
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    values = initial(shapes=[(6, 4), (3, 5), (1, 7)])
    a = [nn.Parameter(value) for value in values]
    b = [torch.nn.Parameter(torch.tensor(value)) for value in values]
    mine, theirs = optim.Muon(a, **settings), torch.optim.Muon(b, **settings)
    agree(run(mine, a, range(100)), run(theirs, b, range(100), torch.from_numpy), tolerance=1e-8)
    fresh = optim.Muon(a)
    fresh.load_state_dict(plain(theirs.state_dict()))
    agree(
        run(fresh, a, range(100, 120)),
        run(theirs, b, range(100, 120), torch.from_numpy),
        tolerance=1e-8,
    )


def test_muon_is_near_that_of_torch(torch: Any) -> None:
    # As PyTorch is: with bfloat16 in the iteration.
    value = np.random.default_rng(0).normal(size=(6, 4))
    a = [nn.Parameter(value.copy())]
    b = [torch.nn.Parameter(torch.tensor(value))]
    mine = run(optim.Muon(a, lr=0.02), a, range(5))
    theirs = run(torch.optim.Muon(b, lr=0.02), b, range(5), torch.from_numpy)
    np.testing.assert_allclose(mine, theirs, atol=2e-3)


def rosenbrock(n: Any, x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


LBFGS_SETTINGS = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 4},
    {"lr": 0.001, "max_iter": 5},
    {"lr": 0.002, "history_size": 2, "max_iter": 3, "max_eval": 2},
]


@pytest.mark.parametrize("settings", LBFGS_SETTINGS)
def test_lbfgs_is_that_of_torch(torch: Any, settings: Any) -> None:
    start = np.linspace(-1.2, 1.0, 6)
    histories = []
    for library, optimizers in ((minidl, optim), (torch, torch.optim)):
        if library is minidl:
            x: Any = nn.Parameter(start.copy())
        else:
            x = torch.nn.Parameter(torch.tensor(start))
        optimizer = optimizers.LBFGS([x], **settings)
        history = []

        def closure(x: Any = x, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = rosenbrock(None, x)
            loss.backward()
            return loss

        for _ in range(8):
            loss = float(optimizer.step(closure).item())
            history.append([loss, *x.detach().numpy()])
        histories.append(history)
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-6, atol=1e-5)
    if settings.get("line_search_fn") and "max_iter" not in settings:
        assert histories[0][-1][0] < 1e-6


def test_lbfgs_goes_on_from_its_state() -> None:
    def make(value: np.ndarray) -> tuple[Any, Any, Any]:
        x = nn.Parameter(value.copy())
        optimizer = optim.LBFGS([x], max_iter=4, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = rosenbrock(None, x)
            loss.backward()
            return loss

        return x, optimizer, closure

    x, optimizer, closure = make(np.linspace(-1.2, 1.0, 5))
    for _ in range(3):
        optimizer.step(closure)
    y, fresh, again = make(x.detach().numpy())
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        optimizer.step(closure)
        fresh.step(again)
    np.testing.assert_array_equal(x.detach(), y.detach())
    _, other, _ = make(np.zeros(3))
    with pytest.raises(ValueError, match="state of 5 numbers, and 3"):
        other.load_state_dict(optimizer.state_dict())


def test_a_closure_is_called_and_its_loss_returned() -> None:
    x = nn.Parameter(np.ones(2))
    optimizer = optim.SGD([x], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    np.testing.assert_allclose(x.detach(), 0.8)
