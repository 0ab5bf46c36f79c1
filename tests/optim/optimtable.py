"""Every public class of `minidl.optim`: settings to try, and what it must refuse.

`build` is one expression for both frameworks: it is called with `minidl.optim` and with
`torch.optim`. A public class without an entry fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import optim
from minidl.nn import Parameter


@dataclass(frozen=True)
class Setting:
    """An optimizer with some settings; ``params`` are tensors, or groups of them."""

    name: str
    build: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Refusal:
    """What a class must refuse, and what it says."""

    cls: type
    action: Callable[[], Any]
    error: type[Exception]
    message: str


SETTINGS = [
    Setting("SGD", lambda o, p: o.SGD(p, lr=0.05)),
    Setting("SGD, default lr", lambda o, p: o.SGD(p)),
    Setting("SGD, lr 0", lambda o, p: o.SGD(p, lr=0.0)),
    Setting("SGD, weight decay", lambda o, p: o.SGD(p, lr=0.05, weight_decay=0.1)),
    Setting("SGD, momentum", lambda o, p: o.SGD(p, lr=0.05, momentum=0.9)),
    Setting("SGD, dampening", lambda o, p: o.SGD(p, lr=0.05, momentum=0.9, dampening=0.4)),
    Setting("SGD, nesterov", lambda o, p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
    Setting(
        "SGD, momentum and weight decay",
        lambda o, p: o.SGD(p, lr=0.05, momentum=0.8, dampening=0.2, weight_decay=0.1),
    ),
    Setting(
        "SGD, nesterov and weight decay",
        lambda o, p: o.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1, nesterov=True),
    ),
    Setting("Adam", lambda o, p: o.Adam(p)),
    Setting("Adam, lr", lambda o, p: o.Adam(p, lr=0.05)),
    Setting("Adam, betas", lambda o, p: o.Adam(p, lr=0.05, betas=(0.5, 0.9))),
    Setting("Adam, betas 0", lambda o, p: o.Adam(p, lr=0.05, betas=(0.0, 0.0))),
    Setting("Adam, eps", lambda o, p: o.Adam(p, lr=0.05, eps=0.1)),
    Setting("Adam, weight decay", lambda o, p: o.Adam(p, lr=0.05, weight_decay=0.1)),
    Setting("AdamW", lambda o, p: o.AdamW(p)),
    Setting("AdamW, weight decay", lambda o, p: o.AdamW(p, lr=0.05, weight_decay=0.3)),
    Setting("AdamW, no decay", lambda o, p: o.AdamW(p, lr=0.05, weight_decay=0.0)),
    Setting(
        "AdamW, all settings",
        lambda o, p: o.AdamW(p, lr=0.02, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.2),
    ),
]

#: Schedules need steps and no torch twin of the same arguments, so they have tests of their own.
SCHEDULES = {optim.CosineAnnealingLR}


def one() -> Parameter:
    return Parameter(np.ones(3, np.float32))


def twice() -> Any:
    parameter = one()
    return optim.SGD([parameter, one(), parameter])


def in_two_groups() -> Any:
    parameter = one()
    return optim.SGD([{"params": [parameter]}, {"params": [one(), parameter]}])


REFUSALS = [
    Refusal(optim.SGD, lambda: optim.SGD([]), ValueError, "SGD: there are no parameters"),
    Refusal(optim.SGD, twice, ValueError, "SGD: parameter 2 is there twice"),
    Refusal(optim.SGD, in_two_groups, ValueError, "SGD: parameter 1 is there twice"),
    Refusal(optim.SGD, lambda: optim.SGD(one()), TypeError, "list of parameters.*single Tensor"),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([np.ones(3)]),  # type: ignore[list-item]
        TypeError,
        "a leaf Tensor is wanted, got array",
    ),
    Refusal(optim.SGD, lambda: optim.SGD([one() * 2]), TypeError, "leaf Tensor.*grad_fn=mul"),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([Parameter(np.ones(2, np.int64), requires_grad=False)]),
        TypeError,
        "a floating dtype is wanted, got int64",
    ),
    Refusal(optim.SGD, lambda: optim.SGD([one()], lr=-0.1), ValueError, "lr must be.*-0.1"),
    Refusal(optim.SGD, lambda: optim.SGD([one()], lr=float("nan")), ValueError, "lr must be.*nan"),
    Refusal(optim.SGD, lambda: optim.SGD([one()], momentum=1.0), ValueError, "momentum must be"),
    Refusal(optim.SGD, lambda: optim.SGD([one()], dampening=2.0), ValueError, "dampening must be"),
    Refusal(optim.SGD, lambda: optim.SGD([one()], weight_decay=-1), ValueError, "weight_decay mu"),
    Refusal(optim.SGD, lambda: optim.SGD([one()], nesterov=True), ValueError, "nesterov wants"),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([one()], momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        "nesterov wants a momentum above 0 and no dampening",
    ),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([{"params": [one()], "nesterov": True}]),
        ValueError,
        "nesterov wants",
    ),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([{"params": [one()], "learning_rate": 1}]),
        ValueError,
        r"unknown settings \['learning_rate'\]; there are \['dampening', 'lr'",
    ),
    Refusal(
        optim.SGD, lambda: optim.SGD([{"params": [one()], "lr": -1}]), ValueError, "lr must be.*-1"
    ),
    Refusal(
        optim.SGD, lambda: optim.SGD([{"lr": 0.1}]), TypeError, "a group is a dict with 'params'"
    ),
    Refusal(
        optim.SGD,
        lambda: optim.SGD([{"params": [one()]}, one()]),  # type: ignore[list-item]
        TypeError,
        "a group is a dict with 'params', got tensor",
    ),
    Refusal(optim.SGD, lambda: optim.SGD([one()], 0.1, 0.9), TypeError, "positional"),  # type: ignore[misc]
    Refusal(optim.Adam, lambda: optim.Adam([]), ValueError, "Adam: there are no parameters"),
    Refusal(optim.Adam, lambda: optim.Adam([one()], lr=-1.0), ValueError, "lr must be at least 0"),
    Refusal(optim.Adam, lambda: optim.Adam([one()], betas=(0.9, 1.0)), ValueError, "betas must be"),
    Refusal(optim.Adam, lambda: optim.Adam([one()], betas=(-1, 0.9)), ValueError, "betas must be"),
    Refusal(optim.Adam, lambda: optim.Adam([one()], eps=0.0), ValueError, "eps must be above 0"),
    Refusal(
        optim.Adam,
        lambda: optim.Adam([{"params": [one()], "betas": (0.9, 1.5)}]),
        ValueError,
        "betas must be.*1.5",
    ),
    Refusal(optim.Adam, lambda: optim.Adam([one()], momentum=0.9), TypeError, "momentum"),  # type: ignore[call-arg]
    Refusal(optim.AdamW, lambda: optim.AdamW([one()], weight_decay=-1), ValueError, "weight_decay"),
    Refusal(optim.AdamW, lambda: optim.AdamW([]), ValueError, "AdamW: there are no parameters"),
    Refusal(
        optim.Optimizer,
        lambda: with_gradient(optim.Optimizer([one()], {})).step(),
        TypeError,
        "Optimizer has no update",
    ),
    Refusal(
        optim.CosineAnnealingLR,
        lambda: optim.CosineAnnealingLR(optim.SGD([one()]), 0),
        ValueError,
        "total_steps must be at least 1",
    ),
    Refusal(
        optim.CosineAnnealingLR,
        lambda: optim.CosineAnnealingLR(optim.SGD([one()]), 10, warmup_steps=10),
        ValueError,
        "warmup_steps must be below the 10 steps of the whole training, got 10",
    ),
    Refusal(
        optim.CosineAnnealingLR,
        lambda: optim.CosineAnnealingLR(optim.SGD([one()]), 10, warmup_steps=-1),
        ValueError,
        "warmup_steps must be at least 0",
    ),
    Refusal(
        optim.CosineAnnealingLR,
        lambda: optim.CosineAnnealingLR(optim.SGD([one()]), 10, min_lr=-1e-3),
        ValueError,
        "min_lr must be at least 0",
    ),
]


def with_gradient(optimizer: optim.Optimizer) -> optim.Optimizer:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = np.ones(parameter.shape, parameter.dtype)
    return optimizer
