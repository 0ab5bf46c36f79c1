"""Learning-rate schedules: each a pure function of the step (but `ReduceLROnPlateau`)."""

from minidl.optim.schedules.annealing import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseSqrtLR,
    MultiStepLR,
    PolynomialDecayLR,
    PolynomialLR,
    StepLR,
    TrapezoidLR,
)
from minidl.optim.schedules.base import Schedule
from minidl.optim.schedules.composed import (
    ChainedScheduler,
    LambdaLR,
    MultiplicativeLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from minidl.optim.schedules.cycles import SWALR, CyclicLR, OneCycleLR
from minidl.optim.schedules.warmup import ConstantLR, CosineWarmupLR, LinearLR, LinearWarmupLR

__all__ = [
    "SWALR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineWarmupLR",
    "CyclicLR",
    "ExponentialLR",
    "InverseSqrtLR",
    "LambdaLR",
    "LinearLR",
    "LinearWarmupLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialDecayLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "TrapezoidLR",
]
