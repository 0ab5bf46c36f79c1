"""Every public class of `minidl.optim`: settings to try, and what it must refuse.

`build` is one expression for both frameworks: it is called with `minidl.optim` and with
`torch.optim`. A public class without an entry fails the suite.
"""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import nn, optim
from minidl.nn import Parameter


@dataclass(frozen=True)
class Setting:
    """An optimizer with some settings; ``params`` are tensors, or groups of them."""

    name: str
    build: Callable[[Any, Any], Any]
    torch: bool = True
    #: How near PyTorch's trajectory is; it keeps NAdam's product of momenta in float32.
    tolerance: float = 1e-10


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

# fmt: off
SETTINGS += [
    Setting("SGD, maximize", lambda o, p: o.SGD(p, lr=0.05, momentum=0.9, maximize=True)),
    Setting("Adam, amsgrad", lambda o, p: o.Adam(p, lr=0.05, amsgrad=True, weight_decay=0.1)),
    Setting("Adam, maximize", lambda o, p: o.Adam(p, lr=0.05, maximize=True)),
    Setting("AdamW, amsgrad", lambda o, p: o.AdamW(p, lr=0.05, amsgrad=True)),
    Setting("NAdam", lambda o, p: o.NAdam(p), tolerance=1e-6),
    Setting("NAdam, all settings", lambda o, p: o.NAdam(p, lr=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, momentum_decay=0.1), tolerance=1e-6),
    Setting("NAdam, decoupled", lambda o, p: o.NAdam(p, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True, maximize=True), tolerance=1e-6),
    Setting("RAdam", lambda o, p: o.RAdam(p)),
    Setting("RAdam, all settings", lambda o, p: o.RAdam(p, lr=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1)),
    Setting("RAdam, decoupled", lambda o, p: o.RAdam(p, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    Setting("Adamax", lambda o, p: o.Adamax(p)),
    Setting("Adamax, all settings", lambda o, p: o.Adamax(p, lr=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, maximize=True)),
    Setting("Adagrad", lambda o, p: o.Adagrad(p)),
    Setting("Adagrad, all settings", lambda o, p: o.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1, eps=1e-3, maximize=True)),
    Setting("Adadelta", lambda o, p: o.Adadelta(p)),
    Setting("Adadelta, all settings", lambda o, p: o.Adadelta(p, lr=0.5, rho=0.8, eps=1e-3, weight_decay=0.1)),
    Setting("RMSprop", lambda o, p: o.RMSprop(p)),
    Setting("RMSprop, momentum", lambda o, p: o.RMSprop(p, momentum=0.9, weight_decay=0.1)),
    Setting("RMSprop, centered", lambda o, p: o.RMSprop(p, lr=0.02, alpha=0.9, eps=1e-3, momentum=0.5, centered=True)),
    Setting("Rprop", lambda o, p: o.Rprop(p)),
    Setting("Rprop, all settings", lambda o, p: o.Rprop(p, lr=0.05, etas=(0.4, 1.3), step_sizes=(1e-4, 0.1))),
    Setting("AMSGrad", lambda o, p: o.AMSGrad(p, lr=0.05), torch=False),
    Setting("AdaBelief", lambda o, p: o.AdaBelief(p, lr=0.05, weight_decay=0.1), torch=False),
    Setting("Lion", lambda o, p: o.Lion(p, lr=0.01, weight_decay=0.1), torch=False),
    Setting("OAdam", lambda o, p: o.OAdam(p, lr=0.02), torch=False),
    Setting("LAMB", lambda o, p: o.LAMB(p, lr=0.02, weight_decay=0.1), torch=False),
    Setting("LARS", lambda o, p: o.LARS(p, lr=0.5, weight_decay=0.1, trust_coefficient=0.1), torch=False),
    Setting("Muon", lambda o, p: o.Muon(p, lr=0.02), torch=False),
    Setting("Muon, all settings", lambda o, p: o.Muon(p, lr=0.02, momentum=0.8, nesterov=False, ns_steps=3, adjust_lr_fn="match_rms_adamw"), torch=False),
]


@dataclass(frozen=True)
class Scheduled:
    """A schedule with some settings; ``build`` gets the module of schedules and an optimizer."""

    name: str
    build: Callable[[Any, Any], Any]
    torch: bool = True
    optimizer: Callable[[Any, Any], Any] = lambda o, p: o.SGD(p, lr=0.3, momentum=0.5)


SCHEDULES = [
    Scheduled("LambdaLR", lambda s, o: s.LambdaLR(o, lambda t: 0.9**t)),
    Scheduled("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lambda t: 1.0 - 1.0 / (t + 3))),
    Scheduled("StepLR", lambda s, o: s.StepLR(o, 7, 0.5)),
    Scheduled("MultiStepLR", lambda s, o: s.MultiStepLR(o, [3, 3, 20], 0.5)),
    Scheduled("ConstantLR", lambda s, o: s.ConstantLR(o, 0.25, 6)),
    Scheduled("LinearLR", lambda s, o: s.LinearLR(o, 0.2, 0.9, 11)),
    Scheduled("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.95)),
    Scheduled("PolynomialLR", lambda s, o: s.PolynomialLR(o, 30, 2.0)),
    Scheduled("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 60)),
    Scheduled("CosineAnnealingLR, names of PyTorch", lambda s, o: s.CosineAnnealingLR(o, T_max=13, eta_min=0.02)),
    Scheduled("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 7)),
    Scheduled("CosineAnnealingWarmRestarts, longer", lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.01)),
    Scheduled("CyclicLR", lambda s, o: s.CyclicLR(o, 0.1, 0.5, 6, 9)),
    Scheduled("CyclicLR, triangular2", lambda s, o: s.CyclicLR(o, 0.1, 0.5, 6, mode="triangular2", base_momentum=0.7)),
    Scheduled("CyclicLR, exp_range", lambda s, o: s.CyclicLR(o, 0.1, 0.5, 6, mode="exp_range", gamma=0.97, cycle_momentum=False)),
    Scheduled("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.5, 60)),
    Scheduled("OneCycleLR, three phases", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=61, pct_start=0.4, three_phase=True, div_factor=10.0)),
    Scheduled("OneCycleLR, linear, Adam", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=61, anneal_strategy="linear", max_momentum=0.9), optimizer=lambda o, p: o.Adam(p, lr=0.1)),
    Scheduled("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9), s.LinearLR(o, 0.5, 1.0, 5)], [5, 20])),
    Scheduled("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9), s.StepLR(o, 5)])),
    Scheduled("SWALR", lambda s, o: s.SWALR(o, 0.05, 10), torch=False),
    Scheduled("CosineAnnealingLR, warm-up", lambda s, o: s.CosineAnnealingLR(o, 50, warmup_steps=7, min_lr=0.01), torch=False),
    Scheduled("PolynomialDecayLR", lambda s, o: s.PolynomialDecayLR(o, 40, warmup_steps=5, power=2.0, min_lr=0.01), torch=False),
    Scheduled("InverseSqrtLR", lambda s, o: s.InverseSqrtLR(o, 9), torch=False),
    Scheduled("TrapezoidLR", lambda s, o: s.TrapezoidLR(o, 50, warmup_steps=5, decay_fraction=0.3, min_lr=0.01), torch=False),
    Scheduled("LinearWarmupLR", lambda s, o: s.LinearWarmupLR(o, 9), torch=False),
    Scheduled("CosineWarmupLR", lambda s, o: s.CosineWarmupLR(o, 9), torch=False),
]
# fmt: on


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

# fmt: off
REFUSALS += [
    Refusal(optim.CosineAnnealingLR, lambda: optim.CosineAnnealingLR(optim.SGD([one()])), ValueError, "one of total_steps and T_max is wanted"),
    Refusal(optim.CosineAnnealingLR, lambda: optim.CosineAnnealingLR(optim.SGD([one()]), T_max=9, min_lr=0.1, eta_min=0.1), ValueError, "are one thing; give one"),
    Refusal(
        optim.AMSGrad,
        lambda: optim.AMSGrad([one()], betas=(0.9, 1.0)),
        ValueError,
        r"betas must be",
    ),
    Refusal(
        optim.NAdam, lambda: optim.NAdam([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(
        optim.RAdam, lambda: optim.RAdam([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(
        optim.Adamax, lambda: optim.Adamax([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(
        optim.AdaBelief,
        lambda: optim.AdaBelief([one()], betas=(0.9, 1.0)),
        ValueError,
        r"betas must be",
    ),
    Refusal(
        optim.Lion, lambda: optim.Lion([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(
        optim.OAdam, lambda: optim.OAdam([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(
        optim.LAMB, lambda: optim.LAMB([one()], betas=(0.9, 1.0)), ValueError, r"betas must be"
    ),
    Refusal(optim.Adagrad, lambda: optim.Adagrad([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(optim.Adadelta, lambda: optim.Adadelta([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(optim.RMSprop, lambda: optim.RMSprop([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(optim.LARS, lambda: optim.LARS([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(optim.Muon, lambda: optim.Muon([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(optim.LBFGS, lambda: optim.LBFGS([one()], lr=-1.0), ValueError, r"lr must be"),
    Refusal(
        optim.Rprop,
        lambda: optim.Rprop([one()], etas=(0.5, 0.9)),
        ValueError,
        r"etas must be below and above 1",
    ),
    Refusal(optim.Muon, lambda: optim.Muon([one()], adjust_lr_fn="rms"), ValueError, r"got 'rms'"),
    Refusal(optim.LBFGS, lambda: optim.LBFGS([one()]).step(), TypeError, r"wants a closure"),
    Refusal(
        optim.LBFGS,
        lambda: optim.LBFGS([{"params": [one()]}, {"params": [one()]}]),
        ValueError,
        r"single group",
    ),
    Refusal(
        optim.LBFGS,
        lambda: optim.LBFGS([one()], line_search_fn="wolfe"),
        ValueError,
        r"got 'wolfe'",
    ),
    Refusal(
        optim.LambdaLR,
        lambda: optim.LambdaLR(optim.SGD([one()]), [abs, abs]),
        ValueError,
        r"1 functions are wanted",
    ),
    Refusal(
        optim.MultiplicativeLR,
        lambda: optim.MultiplicativeLR(optim.SGD([one()]), []),
        ValueError,
        r"MultiplicativeLR: 1 functions",
    ),
    Refusal(
        optim.StepLR, lambda: optim.StepLR(optim.SGD([one()]), 0), ValueError, r"step_size must be"
    ),
    Refusal(
        optim.MultiStepLR,
        lambda: optim.MultiStepLR(optim.SGD([one()]), [3], gamma=0.0),
        ValueError,
        r"gamma must be",
    ),
    Refusal(
        optim.ConstantLR,
        lambda: optim.ConstantLR(optim.SGD([one()]), -1.0),
        ValueError,
        r"factor must be",
    ),
    Refusal(
        optim.LinearLR,
        lambda: optim.LinearLR(optim.SGD([one()]), 0.0),
        ValueError,
        r"start_factor must be",
    ),
    Refusal(
        optim.ExponentialLR,
        lambda: optim.ExponentialLR(optim.SGD([one()]), 0.0),
        ValueError,
        r"gamma must be",
    ),
    Refusal(
        optim.PolynomialLR,
        lambda: optim.PolynomialLR(optim.SGD([one()]), 0),
        ValueError,
        r"total_iters must be",
    ),
    Refusal(
        optim.CosineAnnealingWarmRestarts,
        lambda: optim.CosineAnnealingWarmRestarts(optim.SGD([one()]), 0),
        ValueError,
        r"T_0 must be",
    ),
    Refusal(
        optim.CyclicLR,
        lambda: optim.CyclicLR(optim.SGD([one()]), 0.1, 0.2, mode="square"),
        ValueError,
        r"got 'square'",
    ),
    Refusal(
        optim.CyclicLR,
        lambda: optim.CyclicLR(optim.Adagrad([one()]), 0.1, 0.2),
        ValueError,
        r"Adagrad has none; set cycle_momentum=False",
    ),
    Refusal(
        optim.CyclicLR,
        lambda: optim.CyclicLR(optim.SGD([one()]), [0.1, 0.2], 0.3),
        ValueError,
        r"one number of at least 0, or 1",
    ),
    Refusal(
        optim.OneCycleLR,
        lambda: optim.OneCycleLR(optim.SGD([one()]), 0.1, 10, anneal_strategy="sin"),
        ValueError,
        r"got 'sin'",
    ),
    Refusal(
        optim.SWALR,
        lambda: optim.SWALR(optim.SGD([one()]), 0.1, anneal_strategy="sin"),
        ValueError,
        r"got 'sin'",
    ),
    Refusal(
        optim.SequentialLR,
        lambda: optim.SequentialLR(optim.SGD([one()]), [], [1, 2]),
        ValueError,
        r"rising milestones",
    ),
    Refusal(
        optim.ChainedScheduler, lambda: optim.ChainedScheduler([]), ValueError, r"no schedules"
    ),
    Refusal(
        optim.ChainedScheduler,
        lambda: optim.ChainedScheduler(
            [optim.StepLR(optim.SGD([one()]), 2), optim.StepLR(optim.SGD([one()]), 3)]
        ),
        ValueError,
        r"schedule 1 .* is not one of this optimizer",
    ),
    Refusal(
        optim.ReduceLROnPlateau,
        lambda: optim.ReduceLROnPlateau(optim.SGD([one()]), "least"),
        ValueError,
        r"got 'least'",
    ),
    Refusal(
        optim.ReduceLROnPlateau,
        lambda: optim.ReduceLROnPlateau(optim.SGD([one()]), factor=1.0),
        ValueError,
        r"factor must be below 1",
    ),
    Refusal(
        optim.PolynomialDecayLR,
        lambda: optim.PolynomialDecayLR(optim.SGD([one()]), 5, warmup_steps=5),
        ValueError,
        r"warmup_steps must be below the 5",
    ),
    Refusal(
        optim.InverseSqrtLR,
        lambda: optim.InverseSqrtLR(optim.SGD([one()]), 0),
        ValueError,
        r"warmup_steps must be",
    ),
    Refusal(
        optim.TrapezoidLR,
        lambda: optim.TrapezoidLR(optim.SGD([one()]), 10, warmup_steps=9),
        ValueError,
        r"must be below",
    ),
    Refusal(
        optim.LinearWarmupLR,
        lambda: optim.LinearWarmupLR(optim.SGD([one()]), -1),
        ValueError,
        r"warmup_steps must be",
    ),
    Refusal(
        optim.CosineWarmupLR,
        lambda: optim.CosineWarmupLR(optim.SGD([one()]), -1),
        ValueError,
        r"warmup_steps must be",
    ),
    Refusal(optim.Schedule, lambda: optim.Schedule(optim.SGD([one()])), NotImplementedError, r"^$"),
    Refusal(
        optim.Accumulate,
        lambda: optim.Accumulate(optim.SGD([one()]), 0),
        ValueError,
        r"steps must be",
    ),
    Refusal(
        optim.Lookahead,
        lambda: optim.Lookahead(optim.SGD([one()]), alpha=1.5),
        ValueError,
        r"alpha must be at most 1",
    ),
    Refusal(
        optim.AveragedModel,
        lambda: optim.AveragedModel(nn.Linear(1, 1), 1.0),
        ValueError,
        r"decay must be",
    ),
]
# fmt: on


def with_gradient(optimizer: optim.Optimizer) -> optim.Optimizer:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = np.ones(parameter.shape, parameter.dtype)
    return optimizer
