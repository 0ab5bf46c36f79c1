"""The zoo: shapes, state, and the same weights in the same model written for PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.train.config import load_config

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
CASES: dict[str, Any] = {
    "MLP": lambda: models.MLP((32, 16), dropout=0.1),
    "LeNet5": lambda: models.LeNet5(1),
    "CNN": lambda: models.CNN(1, widths=(8, 16)),
    "VGGSmall": lambda: models.VGGSmall(1),
    "ResNet": lambda: models.ResNet(1, blocks=2, width=8),
    "ResNet8": lambda: models.ResNet8(1),
    "ResNet20": lambda: models.ResNet20(1),
    "ViTTiny": lambda: models.ViTTiny(1, depth=2),
    "LSTMClassifier": lambda: models.LSTMClassifier(28, bidirectional=True),
    "GRUClassifier": lambda: models.GRUClassifier(28),
    "Autoencoder": lambda: models.Autoencoder(1, 28),
    "VAE": lambda: models.VAE(1, 28),
    "DCGANSmall": lambda: models.DCGANSmall(1),
}


def first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def test_every_model_is_here() -> None:
    assert set(CASES) == set(models.__all__)


def test_every_model_has_a_config_but_those_that_are_settings_of_another() -> None:
    root = Path(__file__).parents[2] / "configs"
    named = {load_config(p, environ={}).model.type for p in root.glob("*.yaml")}
    assert set(models.__all__) - named == {"ResNet"}


@pytest.mark.parametrize("name", CASES)
def test_shape_gradients_and_state(name: str) -> None:
    model = CASES[name]()
    out = first(model(IMAGES))
    wanted = {"Autoencoder": (3, 1, 28, 28), "VAE": (3, 1, 28, 28), "DCGANSmall": (3, 1)}
    assert out.shape == wanted.get(name, (3, 10))
    out.sum().backward()
    learned = model.discriminator if name == "DCGANSmall" else model
    assert all(p.grad is not None for p in learned.parameters())
    other = CASES[name]()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    np.testing.assert_array_equal(
        first(other.eval()(IMAGES)).detach(), first(model.eval()(IMAGES)).detach()
    )
    assert "parameters" in str(nn.summary(model, IMAGES))


def test_a_generator_decides_the_weights() -> None:
    a, b = (models.ResNet8(1, rng=np.random.default_rng(3)) for _ in range(2))
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(x.detach(), y.detach())


@pytest.mark.parametrize("name", ["VAE", "DCGANSmall"])
def test_new_images(name: str) -> None:
    model = CASES[name]()
    model(IMAGES)
    made = model.eval().sample(5, np.random.default_rng(0)).detach().numpy()
    assert made.shape == (5, 1, 28, 28)
    assert 0.0 <= made.min() <= made.max() <= 1.0


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be a multiple of 4, got 27"):
        models.Autoencoder(1, 27)
    with pytest.raises(ValueError, match=r"\(N, T, features\) or \(N, C, H, W\) is wanted"):
        models.GRUClassifier(28)(np.ones((2, 28), np.float32))
    with pytest.raises(ValueError, match=r"in recurrent: LSTM\(28, 128"):
        models.LSTMClassifier(28)(np.ones((2, 1, 28, 27), np.float32))


# ---- PyTorch -------------------------------------------------------------------------------


def torch_models(torch: Any) -> dict[str, Any]:
    """The same architectures, written as PyTorch's users write them."""
    tnn, relu = torch.nn, torch.relu

    class Block(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, i: int, o: int, stride: int) -> None:
            super().__init__()
            self.conv1 = tnn.Conv2d(i, o, 3, stride, 1, bias=False)
            self.bn1 = tnn.BatchNorm2d(o)
            self.conv2 = tnn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.bn2 = tnn.BatchNorm2d(o)
            self.downsample = (
                tnn.Sequential(tnn.Conv2d(i, o, 1, stride, bias=False), tnn.BatchNorm2d(o))
                if stride != 1 or i != o
                else None
            )

        def forward(self, x: Any) -> Any:
            out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return relu(out + (x if self.downsample is None else self.downsample(x)))

    class ResNet8(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = tnn.Conv2d(1, 16, 3, padding=1, bias=False)
            self.bn1 = tnn.BatchNorm2d(16)
            self.layer1 = tnn.Sequential(Block(16, 16, 1))
            self.layer2 = tnn.Sequential(Block(16, 32, 2))
            self.layer3 = tnn.Sequential(Block(32, 64, 2))
            self.fc = tnn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
            return self.fc(x.mean((2, 3)))

    class Encoder(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            layer = tnn.TransformerEncoderLayer(28, 4, 32, 0.0, "gelu", batch_first=True)
            self.encoder = tnn.TransformerEncoder(layer, 2)
            self.head = tnn.Linear(28, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(x[:, 0]).mean(1))

    class LSTM(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = tnn.LSTM(28, 32, 2, batch_first=True, bidirectional=True)
            self.head = tnn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            out, _ = self.recurrent(x[:, 0])
            return self.head(torch.cat([out[:, -1, :32], out[:, 0, 32:]], -1))

    class ViT(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.patches = tnn.Conv2d(1, 64, 4, stride=4)
            self.token = tnn.Module()
            self.token.weight = tnn.Parameter(torch.randn(1, 1, 64))
            self.positions = tnn.Module()
            self.positions.weight = tnn.Parameter(torch.randn(50, 64))
            self.layers = tnn.ModuleList(
                tnn.TransformerEncoderLayer(
                    64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(2)
            )
            self.norm = tnn.LayerNorm(64)
            self.head = tnn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.weight.expand(len(x), 1, 64), x], 1) + self.positions.weight
            for layer in self.layers:
                x = layer(x)
            return self.head(self.norm(x[:, 0]))

    def vgg() -> Any:
        layers: list[Any] = []
        channels = 1
        for width, count in ((16, 1), (32, 2), (64, 2)):
            for _ in range(count):
                layers += [
                    tnn.Conv2d(channels, width, 3, padding=1, bias=False),
                    tnn.BatchNorm2d(width),
                ]
                layers.append(tnn.ReLU())
                channels = width
            layers.append(tnn.MaxPool2d(2))
        return layers

    class VGG(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.features = tnn.Sequential(*vgg())
            self.classifier = tnn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x).mean((2, 3)))

    class LeNet(tnn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = tnn.Sequential(
                tnn.Conv2d(1, 6, 5, padding=2), tnn.Tanh(), tnn.AvgPool2d(2), tnn.Conv2d(6, 16, 5),
                tnn.Tanh(), tnn.AvgPool2d(2), tnn.Flatten(), tnn.Linear(400, 120), tnn.Tanh(),
                tnn.Linear(120, 84), tnn.Tanh(), tnn.Linear(84, 10),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return self.layers(x)

    return {
        "LeNet5": LeNet, "ResNet8": ResNet8, "VGGSmall": VGG, "LSTM": LSTM, "ViTTiny": ViT,
        "Encoder": Encoder,
    }  # fmt: skip


class EncoderClassifier(nn.Module):
    def __init__(self) -> None:
        layer = nn.TransformerEncoderLayer(28, 4, 32, 0.0, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(28, 10)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(x[:, 0]).mean(1))


OURS: dict[str, Any] = {
    "LeNet5": lambda: models.LeNet5(1),
    "ResNet8": lambda: models.ResNet8(1),
    "VGGSmall": lambda: models.VGGSmall(1),
    "LSTM": lambda: models.LSTMClassifier(28, 10, 32, 2, bidirectional=True),
    "ViTTiny": lambda: models.ViTTiny(1, depth=2),
    "Encoder": EncoderClassifier,
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_safetensors_go_over_to_torch_and_back(torch: Any, name: str, tmp_path: Path) -> None:
    import safetensors.numpy
    import safetensors.torch

    torch.manual_seed(0)
    theirs, ours = torch_models(torch)[name](), OURS[name]()
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.02 * torch.rand_like(tensor)
    path = str(tmp_path / "from_torch.safetensors")
    safetensors.torch.save_file(theirs.state_dict(), path)
    assert ours.load_state_dict(safetensors.numpy.load_file(path)) == ([], [])
    ours.eval()
    theirs.eval()
    with minidl.no_grad(), torch.no_grad():
        a, b = ours(minidl.Tensor(IMAGES)).numpy(), theirs(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)

    fresh = OURS[name]()
    fresh(IMAGES)
    path = str(tmp_path / "from_minidl.safetensors")
    state = {key: np.ascontiguousarray(t.numpy()) for key, t in fresh.state_dict().items()}
    safetensors.numpy.save_file(state, path)
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    with minidl.no_grad(), torch.no_grad():
        a = fresh.eval()(minidl.Tensor(IMAGES)).numpy()
        b = theirs.eval()(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
