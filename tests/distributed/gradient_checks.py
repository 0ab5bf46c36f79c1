"""What each rank does in the tests of `minidl.distributed.gradients` beside training."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.distributed import GradientSum, World
from minidl.distributed.statistics import sum_over_ranks


def everything(world: World) -> dict[str, Any]:
    return {
        **_cut(world),
        **_refused(world),
        **_told(world),
        "program": _program(world),
        "branch": _branch(world),
        "lbfgs": lbfgs(world),
    }


def _cut(world: World) -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
    parameters = list(model.parameters())
    parameters[2].requires_grad_(False)
    sums = GradientSum(world, optim.SGD(parameters, lr=0.1), bucket_bytes=40)
    with sums:
        model(np.ones((2, 3), np.float32)).sum().backward()
    started = [sent.started for sent in sums.traffic.last]
    cut = [[bucket.members[0], bucket.members[-1]] for bucket in sums.buckets]
    return {"cut": cut, "in order": started == sorted(started), "messages": len(started)}


def _refused(world: World) -> dict[str, str]:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = np.ones((2, 2), np.float32)

    def twice() -> None:
        sums = GradientSum(world, optimizer)
        with sums:
            model(x).sum().backward()
            model(x).sum().backward()

    def middle() -> None:
        sums = GradientSum(world, optimizer)
        try:
            with sums:
                model(x).sum().backward()
                raise KeyError("in between")
        except KeyError:
            sums.begin()

    def half() -> None:
        GradientSum(world, optim.SGD([minidl.ones(2, dtype=np.float16).requires_grad_()], lr=0.1))

    def none() -> None:
        GradientSum(world, optimizer, bucket_bytes=0)

    found = {}
    for refused in (twice, middle, half, none):
        try:
            refused()
        except (RuntimeError, TypeError, ValueError) as error:
            found[{"twice": "second"}.get(refused.__name__, refused.__name__)] = str(error)
    return found


def _told(world: World) -> dict[str, Any]:
    """Sum numbers beside gradients; rank 1 alone uses the first layer, and nobody the second."""
    model = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
    sums = GradientSum(world, optim.SGD(model.parameters(), lr=0.1))
    heard: list[Any] = []
    next(iter(model.parameters())).register_hook(lambda gradient: heard.append(gradient))
    sums.begin()
    if world.rank == 1:
        model[0](np.full((1, 2), 3.0, np.float32)).sum().backward()
    values = sums.finish([1.0 + world.rank, 10.0 * (1 + world.rank)])
    gradients = [p.grad for p in model.parameters()]
    return {
        "values": values.tolist(),
        "there": [g is not None for g in gradients],
        "gradient": gradients[0].numpy().tolist(),
        "hooked": int(world.sum(np.array(len(heard)))),
    }


def _program(world: World) -> list[str]:
    """Return a recorded step as text."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    sums = GradientSum(world, optimizer, bucket_bytes=30)

    @minidl.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        with sums:
            loss = model(x).square().mean()
            loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step(np.ones((2, 3), np.float32))
    (program,) = step.programs
    assert not program.comparable
    return program.source.splitlines()


def _branch(world: World) -> list[Any]:
    """Branch on what all ranks have together, which no program may ask twice in a step."""

    def function(x: Any) -> Any:
        total = sum_over_ranks(minidl.sum(x))
        return total * 2.0 if total > 0 else total

    compiled = minidl.compile(function)
    x = minidl.ones(3) * (1.0 + world.rank)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = [compiled(x).item() for _ in range(4)]
    return [found, compiled.fallbacks]


def lbfgs(world: World) -> list[float]:
    """Fit a line by an optimizer that computes the loss several times a step."""
    x = np.linspace(-1.0, 1.0, 8)[:, None]
    target, mine = 2.0 * x - 0.5, slice(world.rank, None, world.size)
    model = nn.Linear(1, 1).double()
    model.load_state_dict({"weight": np.zeros((1, 1)), "bias": np.zeros(1)})
    optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    sums = GradientSum(world, optimizer)

    def closure() -> Any:
        optimizer.zero_grad()
        with sums:
            loss = (model(x[mine]) - target[mine]).square().sum() / len(x)
            loss.backward()
        return minidl.Tensor(world.sum(loss.detach().numpy()))

    for _ in range(3):
        optimizer.step(closure)
    return [float(p.detach().numpy().reshape(-1)[0]) for p in model.parameters()]
