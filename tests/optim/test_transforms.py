"""Gradients changed, added up, looked ahead of; weights averaged."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from trajectories import agree, gradient, ours, run

from minidl import nn, optim


def given(seed: int = 0) -> list[nn.Parameter]:
    rng = np.random.default_rng(seed)
    parameters = [nn.Parameter(rng.normal(size=s)) for s in ((4, 3), (4,), (2, 3, 2))]
    for p in parameters[:]:
        p.grad = rng.normal(size=p.shape) * 5
    return [*parameters, nn.Parameter(np.ones(2))]


def grads(parameters: Any) -> list[np.ndarray]:
    return [p.grad.numpy().copy() for p in parameters if p.grad is not None]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_clip_by_norm_is_that_of_torch(torch: Any, norm_type: float) -> None:
    a = given()
    b = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in a]
    for p, q in zip(a, b, strict=True):
        q.grad = None if p.grad is None else torch.tensor(p.grad.numpy())
    norm = optim.clip_grad_norm_(a, 1.5, norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(b, 1.5, norm_type)))
    for mine, other in zip(
        grads(a), [q.grad.numpy() for q in b if q.grad is not None], strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_clip_by_value_and_each_norm() -> None:
    a, before = given(), grads(given())
    optim.clip_grad_value_(a, 0.5)
    for mine, was in zip(grads(a), before, strict=True):
        np.testing.assert_array_equal(mine, np.clip(was, -0.5, 0.5))
    a = given()
    optim.clip_each_grad_norm_(a, 2.0)
    for mine, was in zip(grads(a), before, strict=True):
        np.testing.assert_allclose(mine, was * min(1.0, 2.0 / np.linalg.norm(was)))


def test_adaptive_clipping_holds_each_row() -> None:
    a, before = given(), grads(given())
    optim.clip_grad_adaptive_(a, 0.1)
    weight, gradient_ = a[0].detach().numpy(), grads(a)[0]
    for row in range(4):
        limit = 0.1 * np.linalg.norm(weight[row])
        factor = min(1.0, limit / np.linalg.norm(before[0][row]))
        np.testing.assert_allclose(gradient_[row], before[0][row] * factor)
    vector = min(1.0, 0.1 * np.linalg.norm(a[1].detach()) / np.linalg.norm(before[1]))
    np.testing.assert_allclose(grads(a)[1], before[1] * vector)


def test_noise_has_the_wanted_spread_and_fades() -> None:
    p = nn.Parameter(np.zeros(20_000))
    for step, std in ((0, 0.2), (99, 0.2 / 100**0.275)):
        p.grad = np.zeros(20_000)
        optim.add_grad_noise_(p, 0.04, step=step, generator=np.random.default_rng(0))
        assert p.grad.numpy().std() == pytest.approx(std, rel=0.03)


def test_centralization_takes_the_mean_of_each_output() -> None:
    a, before = given(), grads(given())
    optim.centralize_grad_(a)
    np.testing.assert_allclose(grads(a)[0].mean(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(grads(a)[2].mean((1, 2)), 0.0, atol=1e-12)
    np.testing.assert_array_equal(grads(a)[1], before[1])


def test_accumulation_equals_the_mean_gradient() -> None:
    a, b = ours(), ours()
    optimizer = optim.Accumulate(optim.Adam(a, lr=0.05), 3)
    other = optim.Adam(b, lr=0.05)
    for step in range(5):
        other.zero_grad()
        for part in range(3):
            optimizer.zero_grad()
            for i, p in enumerate(a):
                g = gradient(b[i].detach().numpy(), 3 * step + part, i)
                p.grad = g if p.grad is None else p.grad + g
            assert optimizer.step() == (part == 2)
        for i, p in enumerate(b):
            values = [gradient(p.detach().numpy(), 3 * step + part, i) for part in range(3)]
            p.grad = np.mean(values, axis=0)
        other.step()
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.detach(), q.detach(), rtol=1e-9)


def added_up(optimizer: Any, parameters: Any, passes: range) -> list[np.ndarray]:
    """Run backward passes (made up) through an accumulating optimizer."""
    found = []
    for number in passes:
        optimizer.zero_grad()
        for i, p in enumerate(parameters):
            g = gradient(p.detach().numpy(), number, i)
            p.grad = g if p.grad is None else p.grad + g
        optimizer.step()
        found.append(np.concatenate([p.detach().numpy().ravel() for p in parameters]))
    return found


@pytest.mark.parametrize("stop", [0, 6, 7, 8])
def test_accumulation_goes_on_in_the_middle_of_a_step(stop: int) -> None:
    a, b = ours(), ours()
    optimizer = optim.Accumulate(optim.Adam(a, lr=0.05), 3)
    added_up(optimizer, a, range(stop))
    for p, q in zip(a, b, strict=True):
        q.copy_(p)
    fresh = optim.Accumulate(optim.Adam(b), 3)
    added_up(fresh, b, range(2))  # its own sums must be forgotten
    for p, q in zip(a, b, strict=True):
        q.copy_(p)
    state = optimizer.state_dict()
    assert (state["count"], len(state["gradients"])) == (stop % 3, len(a) if stop % 3 else 0)
    fresh.load_state_dict(arrays(state))
    later = range(stop, stop + 10)
    agree(added_up(fresh, b, later), added_up(optimizer, a, later), tolerance=0)


def arrays(state: Any) -> Any:
    """A state as it comes from a file: arrays for tensors, and text for numbers that are keys."""
    if isinstance(state, dict):
        return {str(key): arrays(value) for key, value in state.items()}
    if isinstance(state, list):
        return [arrays(value) for value in state]
    return state.detach().numpy() if hasattr(state, "detach") else state


def test_states_of_wrappers_that_do_not_fit_change_nothing() -> None:
    a = ours(shapes=[(3,)])
    accumulating = optim.Accumulate(optim.SGD(a), 2)
    added_up(accumulating, a, range(1))
    state = accumulating.state_dict()
    for changes, message in (
        ({"count": 2}, "has added up 2 of its gradients; with steps=2"),
        ({"gradients": {0: np.ones(4)}}, r"gradient 0 .* has shape \(4,\), wanted \(3,\)"),
        ({"gradients": {1: np.ones(3)}}, "gradient 1 .* no such parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            accumulating.load_state_dict({**state, **changes})
        assert accumulating.count == 1
        np.testing.assert_array_equal(a[0].grad, state["gradients"][0])
    looking = optim.Lookahead(optim.SGD(a))
    with pytest.raises(ValueError, match=r"\[\(3,\)\] here, \[\(4,\)\] in the state"):
        looking.load_state_dict({**looking.state_dict(), "slow": [np.ones(4)]})


def test_lookahead_is_its_formula_and_goes_on_from_its_state() -> None:
    a, b = ours(), ours()
    optimizer = optim.Lookahead(optim.SGD(a, lr=0.05), k=3, alpha=0.4)
    fast = optim.SGD(b, lr=0.05)
    slow = [p.detach().numpy().copy() for p in b]
    for step in range(9):
        run(optimizer, a, range(step, step + 1))
        run(fast, b, range(step, step + 1))
        if step % 3 == 2:
            slow = [s + 0.4 * (p.detach().numpy() - s) for s, p in zip(slow, b, strict=True)]
            for s, p in zip(slow, b, strict=True):
                p.copy_(s)
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.detach(), q.detach())
    c = ours()
    for p, q in zip(a, c, strict=True):
        q.copy_(p)
    fresh = optim.Lookahead(optim.SGD(c, lr=9.0), k=3, alpha=0.4)
    fresh.load_state_dict(arrays(copy.deepcopy(optimizer.state_dict())))
    agree(run(fresh, c, range(9, 14)), run(optimizer, a, range(9, 14)), tolerance=0)


@pytest.mark.parametrize("decay", [None, 0.8])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_are_those_of_torch(torch: Any, decay: Any, use_buffers: bool) -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    def build(n: Any) -> Any:
        return n.Sequential(n.Linear(3, 4), n.BatchNorm1d(4)).double()

    mine, other = build(nn), build(torch.nn)
    how = {} if decay is None else {"multi_avg_fn": get_ema_multi_avg_fn(decay)}
    average = optim.AveragedModel(mine, decay, use_buffers=use_buffers)
    theirs = AveragedModel(other, use_buffers=use_buffers, **how)
    rng = np.random.default_rng(0)
    for _ in range(5):
        for tensor, twin in zip(
            mine.state_dict().values(), other.state_dict().values(), strict=True
        ):
            if tensor.dtype.kind == "f":
                value = rng.normal(size=tensor.shape)
                tensor.copy_(value)
                twin.copy_(torch.tensor(value))
        average.update()
        theirs.update_parameters(other)
    kept = {n: t.numpy().copy() for n, t in mine.state_dict().items()}
    expected = dict(theirs.module.state_dict())
    with average.applied():
        for name, tensor in mine.state_dict().items():
            if "running" in name and not use_buffers:
                np.testing.assert_array_equal(tensor.numpy(), kept[name])
            elif tensor.dtype.kind == "f":
                np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), rtol=1e-9)
    for name, tensor in mine.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), kept[name])
    fresh = optim.AveragedModel(build(nn), decay, use_buffers=use_buffers)
    fresh.load_state_dict(average.state_dict())
    assert fresh.n_averaged == 5
    with pytest.raises(ValueError, match="are not the model's"):
        optim.AveragedModel(nn.Linear(2, 2)).load_state_dict(average.state_dict())


def test_statistics_of_averaged_weights_are_those_of_torch(torch: Any) -> None:
    from torch.optim.swa_utils import update_bn

    def build(n: Any) -> Any:
        return n.Sequential(n.Linear(3, 4), n.BatchNorm1d(4), n.ReLU()).double()

    mine, other = build(nn).eval(), build(torch.nn).eval()
    mine.load_state_dict({k: v.numpy() for k, v in other.state_dict().items()})
    batches = [np.random.default_rng(i).normal(size=(5 + i, 3)) for i in range(4)]
    optim.update_bn([(batch, None) for batch in batches], mine)
    update_bn([torch.from_numpy(batch) for batch in batches], other)
    for name, tensor in mine.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), other.state_dict()[name].numpy(), rtol=1e-10)
    assert not mine.training
    assert mine[1].momentum == 0.1
    optim.update_bn([], nn.Linear(2, 2))  # nothing to do
