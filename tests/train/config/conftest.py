"""Stand-ins with the signatures that configs are checked against.

They keep these tests apart from the layers' own code; ``test_config.py`` also holds the real
registry to them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from minidl.arguments import Count, Fraction, NonNegative, Positive, Probability, Size, checked
from minidl.train.config import Config, ConfigError, load_config

Pair = Size | tuple[Size, Size]
Border = Count | tuple[Count, Count]


class Array:
    """Something that YAML cannot say."""


class MNIST:
    def __init__(self, root: str | Path) -> None: ...


class MNISTSample:
    def __init__(self) -> None: ...


class Sequential:
    def __init__(self, *modules: Any) -> None: ...


class Linear:
    infer: ClassVar[dict[str, int]] = {"in_features": -1}

    @checked
    def __init__(
        self, in_features: Size, out_features: Size, *, bias: bool = True, dtype: Any = None,
        rng: Any = None,
    ) -> None: ...  # fmt: skip


class Conv2d:
    infer: ClassVar[dict[str, int]] = {"in_channels": -3}

    @checked
    def __init__(
        self, in_channels: Size, out_channels: Size, kernel_size: Pair, *, stride: Pair = 1,
        padding: Border | Literal["same", "valid"] = 0, bias: bool = True, dtype: Any = None,
    ) -> None: ...  # fmt: skip


class MaxPool2d:
    def __init__(self, kernel_size: Pair, *, stride: Pair | None = None) -> None: ...


class ReLU:
    """No constructor of its own, as the real one."""


class Flatten:
    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None: ...


class Dropout:
    def __init__(self, p: Probability = 0.5, *, rng: Any = None) -> None: ...


class BatchNorm2d:
    infer: ClassVar[dict[str, int]] = {"num_features": -3}

    def __init__(self, num_features: Size, *, momentum: Fraction | None = 0.1) -> None: ...


class CrossEntropyLoss:
    def __init__(
        self, weight: Array | None = None, *, label_smoothing: Fraction = 0.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None: ...  # fmt: skip


class MSELoss:
    def __init__(self) -> None: ...


class SGD:
    def __init__(
        self, params: Any, lr: Positive, *, momentum: NonNegative = 0.0, nesterov: bool = False,
        weight_decay: NonNegative = 0.0,
    ) -> None: ...  # fmt: skip


class AdamW:
    def __init__(
        self, params: Any, lr: Positive = 1e-3, *, eps: Positive = 1e-8,
        betas: tuple[Probability, Probability] = (0.9, 0.999), weight_decay: NonNegative = 0.01,
    ) -> None: ...  # fmt: skip


class CosineAnnealingLR:
    def __init__(
        self, optimizer: Any, total_steps: int, *, warmup_steps: Count = 0,
        min_lr: NonNegative = 0.0,
    ) -> None: ...  # fmt: skip


LAYERS = (Sequential, Linear, Conv2d, MaxPool2d, ReLU, Flatten, Dropout, BatchNorm2d)
CLASSES: dict[str, dict[str, type]] = {
    section: {cls.__name__: cls for cls in classes}
    for section, classes in {
        "data": (MNIST, MNISTSample),
        "model": LAYERS,
        "loss": (CrossEntropyLoss, MSELoss),
        "optimizer": (SGD, AdamW),
        "schedule": (CosineAnnealingLR,),
    }.items()
}

COMPLETE = """\
seed: 42
data: {type: MNIST, root: "${env:MINIDL_DATA,data}", batch_size: 128, val_fraction: 0.1}
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 32, kernel_size: 3, padding: 1}
    - {type: ReLU}
    - {type: MaxPool2d, kernel_size: [2, 2]}
    - {type: Flatten}
    - {type: Linear, out_features: 10}
loss: {type: CrossEntropyLoss, label_smoothing: 0.1}
optimizer: {type: AdamW, lr: 1e-3, weight_decay: 0.01}
schedule: {type: CosineAnnealingLR, warmup_steps: 200, min_lr: 1e-5}
trainer: {epochs: 10, clip_norm: 1.0, monitor: val/accuracy, early_stop: {patience: 3}}
tracking: {experiment: mnist, uri: "${env:MLFLOW_TRACKING_URI,sqlite:///mlflow.db}"}
"""


@pytest.fixture(scope="session")
def classes() -> dict[str, dict[str, type]]:
    return CLASSES


@pytest.fixture(scope="session")
def complete() -> str:
    """The config of DESIGN.md, which uses every section."""
    return COMPLETE


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Load a config from its text, as file ``c.yaml`` of the current directory."""
    monkeypatch.chdir(tmp_path)

    def from_text(
        text: str | bytes, *overrides: str, environ: dict[str, str] | None = None
    ) -> Config:
        data = text if isinstance(text, bytes) else text.encode()
        Path("c.yaml").write_bytes(data)
        return load_config("c.yaml", overrides, classes=CLASSES, environ=environ or {})

    return from_text


@pytest.fixture
def fails(load: Callable[..., Config]) -> Callable[..., ConfigError]:
    """Load a config that is wrong, and return the error."""

    def error_of(text: str | bytes, *overrides: str, **kwargs: Any) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides, **kwargs)
        return caught.value

    return error_of
