"""Optimizers: trajectories against PyTorch's, groups, frozen parameters, several dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimtable import REFUSALS, SCHEDULES, SETTINGS, Refusal, Setting, one
from trajectories import agree, gradient, initial, ours, run, theirs

import minidl
from minidl import nn, optim
from minidl.nn import Parameter, functional

every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
torch_setting = pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.torch], ids=lambda setting: setting.name
)
STEPS = range(100)


def test_every_public_class_has_entries() -> None:
    public = {getattr(optim, name) for name in optim.__all__}
    classes = {cls for cls in public if isinstance(cls, type)}
    made = {type(setting.build(optim, [one()])) for setting in SETTINGS}
    for scheduled in SCHEDULES:
        optimizer = scheduled.optimizer(optim, [one()])
        made.add(type(scheduled.build(optim, optimizer)))
    elsewhere = {optim.LBFGS, optim.ReduceLROnPlateau}  # tests of their own
    wrappers = {optim.Accumulate, optim.Lookahead, optim.AveragedModel}
    assert classes - {optim.Optimizer, optim.Schedule} - elsewhere - wrappers == made
    assert classes == {refusal.cls for refusal in REFUSALS}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.cls.__name__)
def test_refuses(refusal: Refusal) -> None:
    with pytest.raises(refusal.error, match=refusal.message):
        refusal.action()


# ---- against PyTorch -----------------------------------------------------------------------


@torch_setting
def test_trajectory_is_that_of_torch(torch: Any, setting: Setting) -> None:
    a, b = ours(), theirs(torch)
    agree(
        run(setting.build(optim, a), a, STEPS),
        run(setting.build(torch.optim, b), b, STEPS, torch.from_numpy),
        setting.tolerance,
    )


def sometimes(step: int, i: int) -> bool:
    """Parameter 0 always, the others in some steps, and none in step 7."""
    return step != 7 and (i == 0 or (step * (i + 2)) % 5 < 3 or step > 80)


@torch_setting
def test_parameters_without_gradient_wait_and_count_their_own_steps(
    torch: Any, setting: Setting
) -> None:
    a, b = ours(), theirs(torch)
    agree(
        run(setting.build(optim, a), a, STEPS, has_gradient=sometimes),
        run(setting.build(torch.optim, b), b, STEPS, torch.from_numpy, sometimes),
        setting.tolerance,
    )


@torch_setting
def test_frozen_and_unfrozen_parameters(torch: Any, setting: Setting) -> None:
    a, b = ours(), theirs(torch)

    def thaw(parameters: Any) -> Any:
        parameters[2].requires_grad_(False)

        def before(step: int) -> None:
            parameters[1].requires_grad_(not 20 <= step < 40)
            parameters[2].requires_grad_(step >= 30)

        return before

    agree(
        run(setting.build(optim, a), a, STEPS, before=thaw(a)),
        run(setting.build(torch.optim, b), b, STEPS, torch.from_numpy, before=thaw(b)),
        setting.tolerance,
    )


@torch_setting
def test_float32_trajectory(torch: Any, setting: Setting) -> None:
    a, b = ours(dtypes=["f4"]), theirs(torch, dtypes=["f4"])
    agree(
        run(setting.build(optim, a), a, range(30)),
        run(setting.build(torch.optim, b), b, range(30), torch.from_numpy),
        tolerance=2e-5,
    )
    assert {p.dtype.name for p in a} == {"float32"}


@torch_setting
def test_dtypes_in_one_group(torch: Any, setting: Setting) -> None:
    # float32 must not be computed in the float64 that a neighbour has: the float32 ones give
    # the bits they give alone.
    mixed, alone = ours(dtypes=["f4", "f8"]), ours(dtypes=["f4", "f8"])
    narrow = [p for p in alone if p.dtype == np.float32]
    run(setting.build(optim, mixed), mixed, range(20))
    one_by_one = setting.build(optim, narrow)
    for step in range(20):
        one_by_one.zero_grad()
        for i, parameter in enumerate(alone):
            if parameter.dtype == np.float32:
                parameter.grad = gradient(parameter.detach().numpy(), step, i)
        one_by_one.step()
    for a, b in zip(mixed, alone, strict=True):
        assert a.dtype == b.dtype
        if a.dtype == np.float32:
            np.testing.assert_array_equal(a.detach(), b.detach())
    b = theirs(torch, dtypes=["f4", "f8"])
    run(setting.build(torch.optim, b), b, range(20), torch.from_numpy)
    for mine, other in zip(mixed, b, strict=True):
        np.testing.assert_allclose(mine.detach(), other.detach().numpy(), rtol=2e-5, atol=2e-5)


GROUPED = [
    pytest.param(lambda o, g: o.SGD(g(lr=0.05), lr=0.01, momentum=0.9), id="SGD"),
    pytest.param(
        lambda o, g: o.SGD(g(momentum=0.5, nesterov=True), lr=0.01, weight_decay=0.1), id="Nesterov"
    ),
    pytest.param(lambda o, g: o.Adam(g(lr=0.1, betas=(0.5, 0.6)), weight_decay=0.1), id="Adam"),
    pytest.param(lambda o, g: o.AdamW(g(weight_decay=0.0, eps=1e-2), lr=0.02), id="AdamW"),
]


@pytest.mark.parametrize("build", GROUPED)
def test_groups_have_their_own_settings(torch: Any, build: Any) -> None:
    a, b = ours(), theirs(torch)

    def groups(parameters: Any) -> Any:
        # Not in order: state must follow the parameter, not its place.
        return lambda **own: [
            {"params": [parameters[3], parameters[0]]},
            {"params": parameters[1:3], **own},
            {"params": parameters[4], **own},
        ]

    agree(
        run(build(optim, groups(a)), a, STEPS),
        run(build(torch.optim, groups(b)), b, STEPS, torch.from_numpy),
    )


def test_groups_added_and_rates_changed_later(torch: Any) -> None:
    histories = []
    for module, parameters, tensor in (
        (optim, ours(), lambda array: array),
        (torch.optim, theirs(torch), torch.from_numpy),
    ):
        optimizer = module.Adam(parameters[:2], lr=0.01)

        def before(step: int, optimizer: Any = optimizer, parameters: Any = parameters) -> None:
            if step == 10:
                optimizer.add_param_group({"params": parameters[2:], "lr": 0.1})
            if step == 20:
                optimizer.param_groups[0]["lr"] = np.float64(0.05)

        histories.append(run(optimizer, parameters, STEPS, tensor, before=before))
    agree(*histories)


def test_two_optimizers_over_the_same_parameters(torch: Any) -> None:
    histories = []
    for module, parameters, tensor in (
        (optim, ours(), lambda array: array),
        (torch.optim, theirs(torch), torch.from_numpy),
    ):
        first = module.Adam(parameters, lr=0.01)
        second = module.SGD(parameters[1:], lr=0.02, momentum=0.9)
        history = []
        for step in STEPS:
            chosen = first if step % 3 else second
            history += run(chosen, parameters, range(step, step + 1), tensor)
        histories.append(history)
    agree(*histories)


def mlp(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_training_is_that_of_torch(torch: Any, name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 4)), rng.integers(0, 3, 32)
    torch.manual_seed(0)
    other = mlp(torch.nn).double()
    model = mlp(nn).double()
    model.load_state_dict({key: value.numpy() for key, value in other.state_dict().items()})
    how = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.01}
    a = getattr(optim, name)(model.parameters(), **how)
    b = getattr(torch.optim, name)(other.parameters(), **how)
    for _ in range(100):
        a.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        norm = optim.clip_grad_norm_(model.parameters(), 0.5)
        a.step()
        b.zero_grad()
        expected = torch.nn.functional.cross_entropy(other(torch.tensor(x)), torch.tensor(y))
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        b.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-8)
        assert norm == pytest.approx(expected_norm.item(), rel=1e-6)
    assert loss.item() < 0.9
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.detach(), q.detach().numpy(), rtol=1e-6, atol=1e-7)


# ---- without PyTorch -----------------------------------------------------------------------


def test_formulas_by_hand() -> None:
    start, g = 2.0, np.array([0.5])

    def after(optimizer: Any) -> float:
        (parameter,) = optimizer.param_groups[0]["params"]
        for _ in range(2):
            parameter.grad = g
            optimizer.step()
        return float(parameter.item())

    def fresh() -> list[Parameter]:
        return [Parameter(np.array([start]))]

    assert after(optim.SGD(fresh(), lr=0.1)) == pytest.approx(2.0 - 0.1 * 0.5 * 2)
    assert after(optim.SGD(fresh(), lr=0.1, momentum=0.5)) == pytest.approx(2 - 0.05 - 0.075)
    # a constant gradient makes every Adam step lr long, whatever its size
    assert after(optim.Adam(fresh(), lr=0.1)) == pytest.approx(1.8)
    once = 2.0 * 0.9 - 0.1
    assert after(optim.AdamW(fresh(), lr=0.1, weight_decay=1.0)) == pytest.approx(once * 0.9 - 0.1)


def test_blocks_of_the_kernel_do_not_show() -> None:
    # Longer than a block of the kernel, and not a multiple of it.
    size = 70_001
    values, grads = np.random.default_rng(0).normal(size=(2, size))
    by_tensor = (optim.LAMB, optim.LARS)  # whose rates are the whole tensor's
    for setting in SETTINGS:
        if isinstance(setting.build(optim, [one()]), by_tensor):
            continue
        long = Parameter(values.copy())
        ends = [Parameter(values[:3].copy()), Parameter(values[-3:].copy())]
        a, b = setting.build(optim, [long]), setting.build(optim, ends)
        for _ in range(3):
            long.grad, ends[0].grad, ends[1].grad = grads, grads[:3], grads[-3:]
            a.step()
            b.step()
        np.testing.assert_allclose(long.detach().numpy()[:3], ends[0].detach(), rtol=1e-13)
        np.testing.assert_allclose(long.detach().numpy()[-3:], ends[1].detach(), rtol=1e-13)


def test_gradients_are_not_changed_by_a_step() -> None:
    for setting in SETTINGS:
        parameters = ours()
        optimizer = setting.build(optim, parameters)
        for step in range(2):
            grads = [gradient(p.detach().numpy(), step, i) for i, p in enumerate(parameters)]
            for parameter, g in zip(parameters, grads, strict=True):
                parameter.grad = g.copy()
            optimizer.step()
            for parameter, g in zip(parameters, grads, strict=True):
                np.testing.assert_array_equal(parameter.grad, g)


def test_a_step_without_any_gradient_changes_nothing() -> None:
    for setting in SETTINGS:
        parameters = ours()
        optimizer = setting.build(optim, parameters)
        optimizer.step()
        for parameter, start in zip(parameters, initial(), strict=True):
            np.testing.assert_array_equal(parameter.detach(), start)
        assert optimizer.state_dict()["state"] == {}


def test_an_optimizer_of_ones_own() -> None:
    class SignSGD(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})

        def update(self, segment: Any, settings: Any) -> None:
            value = segment.value
            value -= settings["lr"] * np.sign(segment.grad)

    parameter = Parameter(np.array([1.0, 2.0]))
    optimizer = SignSGD([{"params": [parameter], "lr": 0.5}])
    (parameter * minidl.tensor([3.0, -2.0])).sum().backward()
    optimizer.step()
    assert parameter.tolist() == [0.5, 2.5]
