"""Every public module class of `minidl.nn`: how it is made, what it takes, what it must refuse.

`build` is one expression for both frameworks: it is called with `minidl.nn` and with `torch.nn`,
so an entry also holds that names and arguments are PyTorch's. The tests of this directory are
generated from these tables, and a public class without an entry fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import nn


@dataclass(frozen=True)
class Layer:
    """A module, the shape it takes and the shape it gives.

    ``mode_matters``: training and evaluation differ. ``random``: training draws random numbers, so
    it cannot be compared element by element with another framework.
    """

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    out: tuple[int, ...]
    mode_matters: bool = False
    random: bool = False

    def make(self) -> nn.Module:
        module: nn.Module = self.build(nn)
        return module

    def input(self, dtype: Any = np.float64) -> np.ndarray:
        """Distinct values, away from the kinks of relu and the ties of max pooling."""
        rng = np.random.default_rng(3)
        size = int(np.prod(self.shape))
        values = (np.arange(size) + 0.5) / size * 4.0 - 2.0
        return rng.permutation(values).reshape(self.shape).astype(dtype)


@dataclass(frozen=True)
class Loss:
    """A loss, and the arguments it takes: float ones are differentiated."""

    name: str
    build: Callable[[Any], Any]
    inputs: Callable[[], tuple[np.ndarray, np.ndarray]]
    out: tuple[int, ...] = ()

    def make(self) -> nn.Module:
        module: nn.Module = self.build(nn)
        return module


@dataclass(frozen=True)
class Refusal:
    """What a class must refuse, and what it says."""

    cls: type[nn.Module]
    action: Callable[[], Any]
    error: type[Exception]
    message: str


def small_cnn(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.GELU(),
        nn.Linear(5, 3),
    )


def lenet5(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )


def tied(nn: Any) -> Any:
    """A module used twice: one set of parameters under two names."""
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


LAYERS = [
    Layer("Linear", lambda nn: nn.Linear(3, 4), (5, 3), (5, 4)),
    Layer("Linear, any leading axes", lambda nn: nn.Linear(3, 2), (2, 3, 3), (2, 3, 2)),
    Layer("Linear, one sample", lambda nn: nn.Linear(3, 2), (3,), (2,)),
    Layer("Linear, no bias", lambda nn: nn.Linear(3, 4, bias=False), (5, 3), (5, 4)),
    Layer("Conv2d", lambda nn: nn.Conv2d(2, 3, 3), (2, 2, 5, 4), (2, 3, 3, 2)),
    Layer(
        "Conv2d, all settings",
        lambda nn: nn.Conv2d(
            2, 3, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(2, 1), bias=False
        ),
        (2, 2, 5, 4),
        (2, 3, 3, 6),
    ),
    Layer(
        "Conv2d, same", lambda nn: nn.Conv2d(1, 2, 3, padding="same"), (1, 1, 4, 3), (1, 2, 4, 3)
    ),
    Layer(
        "Conv2d, valid", lambda nn: nn.Conv2d(1, 2, 2, padding="valid"), (1, 1, 4, 3), (1, 2, 3, 2)
    ),
    Layer("Conv2d, 1x1", lambda nn: nn.Conv2d(3, 2, 1), (2, 3, 2, 2), (2, 2, 2, 2)),
    Layer("MaxPool2d", lambda nn: nn.MaxPool2d(2), (2, 2, 4, 5), (2, 2, 2, 2)),
    Layer(
        "MaxPool2d, all settings",
        lambda nn: nn.MaxPool2d((3, 2), stride=(2, 1), padding=1),
        (2, 2, 5, 4),
        (2, 2, 3, 5),
    ),
    Layer("AvgPool2d", lambda nn: nn.AvgPool2d(2), (2, 2, 4, 5), (2, 2, 2, 2)),
    Layer(
        "AvgPool2d, all settings",
        lambda nn: nn.AvgPool2d((3, 2), stride=(2, 1), padding=1, count_include_pad=False),
        (2, 2, 5, 4),
        (2, 2, 3, 5),
    ),
    Layer(
        "AvgPool2d, padding counted",
        lambda nn: nn.AvgPool2d(3, stride=2, padding=1),
        (1, 2, 5, 4),
        (1, 2, 3, 2),
    ),
    Layer("ReLU", lambda nn: nn.ReLU(), (3, 4), (3, 4)),
    Layer("Tanh", lambda nn: nn.Tanh(), (3, 4), (3, 4)),
    Layer("Sigmoid", lambda nn: nn.Sigmoid(), (3, 4), (3, 4)),
    Layer("GELU", lambda nn: nn.GELU(), (3, 4), (3, 4)),
    Layer("GELU, tanh", lambda nn: nn.GELU(approximate="tanh"), (3, 4), (3, 4)),
    Layer("Flatten", lambda nn: nn.Flatten(), (2, 3, 2), (2, 6)),
    Layer("Flatten, axes", lambda nn: nn.Flatten(1, 2), (2, 3, 2, 2), (2, 6, 2)),
    Layer("Dropout", lambda nn: nn.Dropout(0.3), (4, 5), (4, 5), True, True),
    Layer("Dropout, none", lambda nn: nn.Dropout(0.0), (4, 5), (4, 5)),
    Layer("Dropout, all", lambda nn: nn.Dropout(1.0), (4, 5), (4, 5), True),
    Layer("BatchNorm1d", lambda nn: nn.BatchNorm1d(3), (4, 3), (4, 3), True),
    Layer("BatchNorm1d, length", lambda nn: nn.BatchNorm1d(3), (2, 3, 4), (2, 3, 4), True),
    Layer(
        "BatchNorm1d, all settings",
        lambda nn: nn.BatchNorm1d(3, eps=0.1, momentum=0.4, affine=False),
        (4, 3),
        (4, 3),
        True,
    ),
    Layer("BatchNorm2d", lambda nn: nn.BatchNorm2d(2), (2, 2, 2, 3), (2, 2, 2, 3), True),
    Layer(
        "BatchNorm2d, all settings",
        lambda nn: nn.BatchNorm2d(2, eps=0.1, momentum=1.0, affine=False),
        (2, 2, 2, 3),
        (2, 2, 2, 3),
        True,
    ),
    Layer(
        "Sequential",
        lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2))),
        (2, 3),
        (2, 2),
    ),
    Layer("Sequential, empty", lambda nn: nn.Sequential(), (2, 3), (2, 3)),
    Layer("Sequential, tied", tied, (2, 3), (2, 3)),
]

#: Whole models: compared with PyTorch, too large for difference quotients.
MODELS = [
    Layer("small CNN", small_cnn, (4, 1, 8, 8), (4, 3), True),
    Layer("LeNet-5", lenet5, (2, 1, 28, 28), (2, 10)),
]


def classes() -> tuple[np.ndarray, np.ndarray]:
    """Logits of four samples and three classes, with their labels."""
    return np.random.default_rng(5).normal(size=(4, 3)) * 3, np.array([0, 2, 1, 2])


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Logits of every pixel, some labels of which are to be ignored."""
    labels = np.array([[[0, 1], [2, -100]], [[1, 1], [-100, 0]]])
    return np.random.default_rng(6).normal(size=(2, 3, 2, 2)), labels


def distributions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), size=4)


def values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return rng.normal(size=(4, 3)), rng.normal(size=(4, 3))


WEIGHT = [0.5, 2.0, 1.25]  # exact in float32


def weighted(nn: Any, **settings: Any) -> Any:
    """CrossEntropyLoss with class weights, which PyTorch wants as one of its tensors."""
    loss = nn.CrossEntropyLoss
    if loss.__module__.startswith("torch"):
        import torch

        return loss(weight=torch.tensor(WEIGHT), **settings)
    return loss(weight=WEIGHT, **settings)


LOSSES = [
    Loss("CrossEntropyLoss", lambda nn: nn.CrossEntropyLoss(), classes),
    Loss("CrossEntropyLoss, sum", lambda nn: nn.CrossEntropyLoss(reduction="sum"), classes),
    Loss("CrossEntropyLoss, none", lambda nn: nn.CrossEntropyLoss(reduction="none"), classes, (4,)),
    Loss("CrossEntropyLoss, smooth", lambda nn: nn.CrossEntropyLoss(label_smoothing=0.2), classes),
    Loss("CrossEntropyLoss, weight", weighted, classes),
    Loss(
        "CrossEntropyLoss, weight and smooth",
        lambda nn: weighted(nn, label_smoothing=0.2),
        pixels,
    ),
    Loss("CrossEntropyLoss, weight, sum", lambda nn: weighted(nn, reduction="sum"), pixels),
    Loss("CrossEntropyLoss, pixels", lambda nn: nn.CrossEntropyLoss(), pixels),
    Loss(
        "CrossEntropyLoss, ignored class",
        lambda nn: nn.CrossEntropyLoss(ignore_index=2, reduction="none"),
        classes,
        (4,),
    ),
    Loss("CrossEntropyLoss, soft", lambda nn: nn.CrossEntropyLoss(), distributions),
    Loss(
        "CrossEntropyLoss, soft, all settings",
        lambda nn: weighted(nn, label_smoothing=0.3, reduction="none"),
        distributions,
        (4,),
    ),
    Loss("MSELoss", lambda nn: nn.MSELoss(), values),
    Loss("MSELoss, sum", lambda nn: nn.MSELoss(reduction="sum"), values),
    Loss("MSELoss, none", lambda nn: nn.MSELoss(reduction="none"), values, (4, 3)),
]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


REFUSALS = [
    Refusal(nn.Linear, lambda: nn.Linear(-3, 4), ValueError, "in_features must be at least 1.*-3"),
    Refusal(nn.Linear, lambda: nn.Linear(3, 0), ValueError, "out_features must be at least 1.*0"),
    Refusal(nn.Linear, lambda: nn.Linear(3), TypeError, "out_features"),
    Refusal(
        nn.Linear, lambda: nn.Linear(3, 2)(ones(2, 4)), ValueError, r"\(2, 4\).*weight \(2, 3\)"
    ),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 0, 3), ValueError, "out_channels must be at least 1"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, (3, 0)), ValueError, "kernel_size must be at least"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "kernel_size must be"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, 3, stride=0), ValueError, "stride must be at least"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, 3, padding=-1), ValueError, "padding must be at"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, 3, dilation=0), ValueError, "dilation must be at"),
    Refusal(
        nn.Conv2d,
        lambda: nn.Conv2d(1, 1, 3, padding="some")(ones(1, 1, 4, 4)),  # type: ignore[arg-type]
        ValueError,
        "'same' or 'valid', got 'some'",
    ),
    Refusal(
        nn.Conv2d,
        lambda: nn.Conv2d(1, 1, 3, padding="same", stride=2)(ones(1, 1, 4, 4)),
        ValueError,
        "'same' wants stride 1",
    ),
    Refusal(
        nn.Conv2d,
        lambda: nn.Conv2d(3, 1, 3)(ones(1, 2, 4, 4)),
        ValueError,
        r"\(1, 2, 4, 4\).*\(1, 3, 3, 3\).*same number of channels",
    ),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(3, 1, 3)(ones(4, 4)), ValueError, r"\(N, C, H, W\)"),
    Refusal(nn.Conv2d, lambda: nn.Conv2d(1, 1, 5)(ones(1, 1, 4, 4)), ValueError, r"conv2d.*4"),
    Refusal(nn.MaxPool2d, lambda: nn.MaxPool2d(0), ValueError, "kernel_size must be at least 1"),
    Refusal(nn.MaxPool2d, lambda: nn.MaxPool2d(2)(ones(4, 4)), ValueError, r"\(N, C, H, W\)"),
    Refusal(
        nn.MaxPool2d,
        lambda: nn.MaxPool2d(2, padding=2)(ones(1, 1, 4, 4)),
        ValueError,
        "more than half of the window",
    ),
    Refusal(nn.AvgPool2d, lambda: nn.AvgPool2d((2, 0)), ValueError, "kernel_size must be at least"),
    Refusal(nn.AvgPool2d, lambda: nn.AvgPool2d(5)(ones(1, 1, 4, 4)), ValueError, "avg_pool2d"),
    Refusal(
        nn.GELU,
        lambda: nn.GELU(approximate="erf")(ones(2)),  # type: ignore[arg-type]
        ValueError,
        "'none' or 'tanh', got 'erf'",
    ),
    Refusal(nn.Flatten, lambda: nn.Flatten(5)(ones(2, 3)), IndexError, "flatten"),
    Refusal(nn.Dropout, lambda: nn.Dropout(1.5), ValueError, "p must be at least 0 and at most 1"),
    Refusal(nn.Dropout, lambda: nn.Dropout(-0.1), ValueError, "p must be.*-0.1"),
    Refusal(nn.Dropout, lambda: nn.Dropout(float("nan")), ValueError, "p must be.*nan"),
    Refusal(nn.BatchNorm1d, lambda: nn.BatchNorm1d(0), ValueError, "num_features must be at least"),
    Refusal(nn.BatchNorm1d, lambda: nn.BatchNorm1d(3, eps=0.0), ValueError, "eps must be above 0"),
    Refusal(nn.BatchNorm1d, lambda: nn.BatchNorm1d(3, momentum=2.0), ValueError, "momentum must"),
    Refusal(
        nn.BatchNorm1d,
        lambda: nn.BatchNorm1d(3)(ones(1, 3)),
        ValueError,
        r"more than one value per channel.*\(1, 3\).*drop_last",
    ),
    Refusal(nn.BatchNorm1d, lambda: nn.BatchNorm1d(3)(ones(2, 4)), ValueError, "the 4 channels"),
    Refusal(
        nn.BatchNorm1d,
        lambda: nn.BatchNorm1d(3, affine=False)(ones(2, 4)),
        ValueError,
        r"running_mean \(3,\) does not fit the 4 channels",
    ),
    Refusal(
        nn.BatchNorm1d,
        lambda: nn.BatchNorm1d(3)(ones(2, 3, 4, 4)),
        ValueError,
        r"BatchNorm1d: a 2-d or 3-d input is wanted, got \(2, 3, 4, 4\)",
    ),
    Refusal(
        nn.BatchNorm2d,
        lambda: nn.BatchNorm2d(3)(ones(2, 3)),
        ValueError,
        r"BatchNorm2d: a 4-d input is wanted, got \(2, 3\)",
    ),
    Refusal(
        nn.BatchNorm2d, lambda: nn.BatchNorm2d(3)(ones(1, 3, 1, 1)), ValueError, "more than one"
    ),
    Refusal(
        nn.Sequential,
        lambda: nn.Sequential(nn.ReLU(), nn.ReLU),  # type: ignore[arg-type]
        TypeError,
        "argument 1 is .*ReLU.*a Module is wanted",
    ),
    Refusal(nn.Sequential, lambda: nn.Sequential(nn.ReLU())[1], IndexError, "no module 1.*are 1"),
    Refusal(nn.Sequential, lambda: nn.Sequential(nn.ReLU())[-2], IndexError, "no module -2"),
    Refusal(
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss(label_smoothing=1.5),
        ValueError,
        "label_smoothing must be",
    ),
    Refusal(
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss()(ones(2, 3), np.array([0, 3])),
        IndexError,
        r"target 3 \(row 1\) is not a class",
    ),
    Refusal(
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss()(ones(2, 3), np.array([0, 1, 2])),
        ValueError,
        r"class indices of shape \(2,\), got \(3,\)",
    ),
    Refusal(
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss(reduction="total")(ones(2, 3), np.array([0, 1])),  # type: ignore[arg-type]
        ValueError,
        "'mean', 'sum' or 'none', got 'total'",
    ),
    Refusal(
        nn.MSELoss,
        lambda: nn.MSELoss()(ones(3, 1), ones(3)),
        ValueError,
        r"\(3, 1\) and target \(3,\) must have the same shape",
    ),
    Refusal(
        nn.MSELoss,
        lambda: nn.MSELoss(reduction="total")(ones(3), ones(3)),  # type: ignore[arg-type]
        ValueError,
        "'mean', 'sum' or 'none', got 'total'",
    ),
    Refusal(nn.Module, lambda: nn.Module()(1), TypeError, "Module has no forward"),
]

#: Classes that take any array and no setting, so that there is nothing of their own to refuse.
NOTHING_TO_REFUSE = {nn.ReLU, nn.Tanh, nn.Sigmoid}
