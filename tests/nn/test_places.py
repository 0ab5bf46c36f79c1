"""Errors say where in a model they arose, and what was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layertable import ones

from minidl import nn


class Net(nn.Module):
    def __init__(self) -> None:
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x))


# ruff: noqa: E501
WRONG = [
    (
        "channels",
        lambda: Net()(ones(2, 3, 4, 4)),
        ValueError,
        r"Conv2d: the input \(2, 3, 4, 4\) has 3 channels \(\(N, C, H, W\)\), and in_channels is 1; "
        r"make it Conv2d\(in_channels=3, …\).*\n  in features.0: Conv2d\(1, 4, kernel_size=\(3, 3\)\), "
        r"given float32\[2, 3, 4, 4\]",
    ),
    (
        "rank",
        lambda: Net()(ones(4, 4)),
        ValueError,
        r"Conv2d: an input \(N, C, H, W\) is wanted, got \(4, 4\) with 2 axes; add the missing axes"
        r".*\n  in features.0",
    ),
    (
        "features",
        lambda: Net()(ones(2, 1, 5, 5)),
        ValueError,
        r"input \(2, 36\) does not fit weight \(2, 16\).*make it Linear\(36, 2\)\n  in head: Linear\(16, 2\)",
    ),
    (
        "integers",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2))(np.ones((1, 2, 2), np.uint8)),
        TypeError,
        r"Linear: a floating input is wanted, got uint8\[1, 4\]; convert it with "
        r"x.astype\(np.float32\) \(pixels 0..255 also want scaling: x / 255\)\n  in 1: Linear",
    ),
    (
        "mixed dtypes",
        lambda: nn.Sequential(nn.Linear(4, 2).double(), nn.Linear(2, 1))(np.ones((1, 4))),
        TypeError,
        r"input is float64, the parameters are float32.*\n  in 1: Linear\(2, 1\), given float64\[1, 2\]",
    ),
    (
        "a batch of one",
        lambda: nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))(ones(1, 4)),
        ValueError,
        r"more than one value per channel is wanted in training, got \(1, 2\); use larger batches, "
        r"or drop_last for the last one\n  in 1: BatchNorm1d\(2",
    ),
    (
        "an empty batch",
        lambda: nn.CrossEntropyLoss()(ones(0, 3), np.zeros(0, np.int64)),
        ValueError,
        r"CrossEntropyLoss: the batch is empty.*\n  in CrossEntropyLoss\(\), given float32\[0, 3\], "
        r"int64\[0\]",
    ),
    (
        "labels",
        lambda: nn.CrossEntropyLoss()(ones(2, 3), np.array([0, 3])),
        IndexError,
        r"target 3 \(row 1\) is not a class.*\n  in CrossEntropyLoss\(\), given float32\[2, 3\], int64\[2\]",
    ),
    (
        "a missing argument",
        lambda: nn.Sequential(nn.Bilinear(2, 2, 1))(ones(1, 2)),
        TypeError,
        r"missing 1 required positional argument: 'x2'\n  in 0: Bilinear",
    ),
]


@pytest.mark.parametrize(
    ("action", "error", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_message(action: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        action()
    assert str(caught.value).count("\n  in ") == 1


def test_errors_of_the_users_own_pass_as_they_are() -> None:
    class MineError(ValueError):
        pass

    class Layer(nn.Module):
        def forward(self, x: Any) -> Any:
            raise MineError("as it is")

    with pytest.raises(MineError, match=r"^as it is$"):
        nn.Sequential(Layer())(1)


def test_summary_counts_what_torch_counts(torch: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def build(n: Any) -> Any:
        return n.Sequential(
            n.Conv2d(1, 4, 3, bias=False), n.Conv2d(4, 4, 3, groups=2, bias=False), n.Flatten(),
            n.Linear(64, 5, bias=False), n.Unflatten(1, (1, 5)), n.LSTM(5, 3, bias=False, batch_first=True),
        )  # fmt: skip

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        build(torch.nn)(torch.ones(2, 1, 8, 8))
    found = nn.summary(build(nn), (2, 1, 8, 8))
    by_kind = {row.kind: row.flops for row in found.rows}
    convs = [row.flops for row in found.rows if row.kind == "Conv2d"]
    # PyTorch's counter leaves LSTM out.
    assert sum(convs) + by_kind["Linear"] == counter.get_total_flops()
    assert by_kind["LSTM"] > 2 * 2 * 5 * 12  # and what is done element by element
    assert found.parameters == sum(p.numel() for p in build(torch.nn).parameters())


def test_summary_of_a_lazy_and_partly_frozen_model() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.Dropout(0.5), nn.Linear(3, 2)).train()
    model[2].requires_grad_(False)
    found = nn.summary(model, ones(4, 5))
    assert [row.kind for row in found.rows] == ["Sequential", "Linear", "Dropout", "Linear"]
    assert (found.parameters, found.trainable) == (26, 18)
    assert "26 parameters (0.00 MB), 8 of them frozen" in str(found)
    assert model.training
    assert found.rows[1].shape == (4, 3)
