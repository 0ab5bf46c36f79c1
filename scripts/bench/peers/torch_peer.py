"""PyTorch, in the ways that may be its fastest on a CPU.

``eager`` has Adam as it comes; the others have the fused one. ``compiled`` is `torch.compile` of
model and loss, which wants a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from peers.cases import BETAS, EPS, EPS_NORM, LR, Case, batches, points, weights

Step = Callable[[int], Any]


def versions() -> dict[str, str]:
    """Say what runs."""
    return {"torch": torch.__version__}


def variants(case: Case) -> list[str]:
    """Name the ways; `torch.compile` only where there is a compiler."""
    compiles = shutil.which(os.environ.get("CXX") or "g++") is not None
    if case.kind in ("derivative", "first"):
        return ["autograd", "func"] if case.model != "hessian" else ["func", "functional"]
    imaged = case.model in ("cnn", "lenet5", "resnet8", "vit")
    ways = ["fused", "eager"] if case.kind == "train" else ["eager"]
    ways += ["channels-last"] if imaged else []
    if compiles:
        ways += ["compiled"] + (["compiled, channels-last"] if imaged else [])
    return ways


class ResidualBlock(nn.Module):
    """As `minidl.models.resnet.ResidualBlock`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        """Add both ways."""
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet8(nn.Module):
    """As `minidl.models.ResNet8`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(ResidualBlock(16, 16, 1))
        self.layer2 = nn.Sequential(ResidualBlock(16, 32, 2))
        self.layer3 = nn.Sequential(ResidualBlock(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class LSTMClassifier(nn.Module):
    """As `minidl.models.LSTMClassifier`."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        """Return logits of the last row's state."""
        return self.head(self.recurrent(x[:, 0])[0][:, -1])


class ViTTiny(nn.Module):
    """As `minidl.models.ViTTiny`."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 64, 4, stride=4)
        self.token = nn.ParameterDict({"weight": torch.zeros(1, 1, 64)})
        self.positions = nn.ParameterDict({"weight": torch.zeros(50, 64)})
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True, layer_norm_eps=EPS_NORM
            )
            for _ in range(4)
        )
        self.norm, self.head = nn.LayerNorm(64, EPS_NORM), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        words = torch.cat([self.token["weight"].expand(len(x), -1, -1), x], 1)
        words = words + self.positions["weight"]
        for layer in self.layers:
            words = layer(words)
        return self.head(self.norm(words[:, 0]))


def _sequential(name: str) -> nn.Module:
    if name == "mlp":
        return nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )
    if name == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84),
        nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


_CLASSES: dict[str, Callable[[], nn.Module]] = {
    "resnet8": ResNet8,
    "lstm": LSTMClassifier,
    "vit": ViTTiny,
}


def build(name: str) -> nn.Module:
    """Make a model with the weights that all systems begin with."""
    model = _CLASSES[name]() if name in _CLASSES else _sequential(name)
    given = {key: torch.from_numpy(value) for key, value in weights(name).items()}
    missing = model.load_state_dict(given, strict=False)
    own = [key for key in missing.missing_keys if "running" not in key and "tracked" not in key]
    if own or missing.unexpected_keys:
        raise KeyError(f"weights of {name} do not fit: {own}, {missing.unexpected_keys}")
    return model


def _laid(case: Case, variant: str) -> tuple[nn.Module, list[tuple[Any, Any]]]:
    model = build(case.model)
    data = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches(case)]
    if "channels-last" in variant:
        model = model.to(memory_format=torch.channels_last)
        data = [(x.to(memory_format=torch.channels_last), y) for x, y in data]
    return model, data


def _training(case: Case, variant: str) -> Step:
    model, data = _laid(case, variant)
    fused = None if variant == "eager" else True
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, betas=BETAS, eps=EPS, fused=fused)

    def loss_of(x: Any, labels: Any) -> Any:
        return functional.cross_entropy(model(x), labels)

    loss_now = torch.compile(loss_of) if "compiled" in variant else loss_of

    def step(i: int) -> float:
        x, labels = data[i % len(data)]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_now(x, labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _predicting(case: Case, variant: str) -> Step:
    model, data = _laid(case, variant)
    model.eval()
    forward = torch.compile(model) if "compiled" in variant else model

    def step(i: int) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(forward(data[i % len(data)][0]).numpy())

    return step


def rosenbrock(x: Any) -> Any:
    """Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def _cubic(x: Any) -> Any:
    return x**3 + 2 * x


def _derivative(case: Case, variant: str) -> Callable[[Any], Any]:
    of = _cubic if case.model == "scalar" else rosenbrock
    if case.model == "hessian":
        if variant == "func":
            found = torch.func.hessian(of)
            return lambda x: found(x).numpy()
        twice = torch.autograd.functional.hessian
        return lambda x: twice(of, x, vectorize=True).numpy()
    if variant == "func":
        slope = torch.func.grad(of)
        return lambda x: slope(x).numpy()

    def by_autograd(x: Any) -> np.ndarray:
        leaf = x.detach().requires_grad_()
        return np.asarray(torch.autograd.grad(of(leaf), leaf)[0].numpy())

    return by_autograd


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case."""
    torch.set_num_threads(threads)
    if case.kind == "train":
        return _training(case, variant)
    if case.kind == "predict":
        return _predicting(case, variant)
    at = [torch.as_tensor(where) for where in points(case)]
    if case.kind == "first":
        return lambda i: _derivative(case, variant)(at[i % len(at)])
    found = _derivative(case, variant)
    return lambda i: found(at[i % len(at)])
