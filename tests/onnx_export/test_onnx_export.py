"""Exported models, run by ONNX Runtime at other batch sizes than they were traced with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1] / "nn"))
from layers_table import LAYERS as OF_IMAGES
from layertable import Layer
from sequence_layers_table import LAYERS as OF_SEQUENCES

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is wanted")
onnx = pytest.importorskip("onnx", reason="onnx is wanted")


def run(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def outputs(out: Any) -> list[np.ndarray]:
    if isinstance(out, tuple):
        return [leaf for part in out if part is not None for leaf in outputs(part)]
    return [np.asarray(out.detach().numpy() if isinstance(out, minidl.Tensor) else out)]


def agree(model: nn.Module, path: Path, *inputs: np.ndarray) -> None:
    model.eval()
    expected = outputs(model(*map(minidl.Tensor, inputs)))
    found = run(path, *inputs)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# ---- layers --------------------------------------------------------------------------------

#: Layers without a batch in front, or that ONNX cannot say.
WITHOUT_BATCH = {
    "Linear, one sample", "GLU, dim", "InstanceNorm1d, one", "LSTM, one sequence",
    "MultiheadAttention, one", "Conv2d, one image", "Softmax, dim=0", "RNNCell, relu",
    "BatchNorm1d, no statistics",
}  # fmt: skip
TIME_FIRST = {
    "RNN", "LSTM", "LSTM, dropout", "GRU", "MultiheadAttention", "TransformerEncoderLayer",
    "TransformerEncoderLayer, dropout", "TransformerDecoderLayer", "TransformerDecoder",
}  # fmt: skip
UNSAYABLE = {"Fold", "LSTMCell"}
#: ONNX Runtime has no kernel for these settings.
UNRUN = {"MaxPool1d, all settings"}
CASES = [
    entry
    for entry in OF_IMAGES + OF_SEQUENCES
    if entry.name not in WITHOUT_BATCH | TIME_FIRST | UNSAYABLE | UNRUN
]


@pytest.mark.parametrize("entry", CASES, ids=lambda entry: entry.name)
def test_layer_at_another_batch_size(entry: Layer, tmp_path: Path) -> None:
    model, inputs = entry.make(), entry.inputs(np.float32)
    model(*inputs)  # moves running statistics
    given = tuple(inputs) if len(inputs) > 1 else inputs[0]
    minidl_onnx().export(model, given, tmp_path / "m.onnx")
    for count in (1, 5):
        many = [np.concatenate([x] * 5)[:count] for x in inputs]
        many = [x if entry.ints else x * np.float32(0.9) for x in many]
        agree(model, tmp_path / "m.onnx", *many)


def minidl_onnx() -> Any:
    from minidl import onnx

    return onnx


@pytest.mark.parametrize(
    "entry",
    [e for e in OF_IMAGES + OF_SEQUENCES if e.name in TIME_FIRST | WITHOUT_BATCH],
    ids=lambda entry: entry.name,
)
def test_layer_at_a_fixed_size(entry: Layer, tmp_path: Path) -> None:
    model, inputs = entry.make(), entry.inputs(np.float32)
    given = tuple(inputs) if len(inputs) > 1 else inputs[0]
    minidl_onnx().export(model, given, tmp_path / "m.onnx", dynamic_batch=False)
    agree(model, tmp_path / "m.onnx", *inputs)


# ---- whole models --------------------------------------------------------------------------


class Encoder(nn.Module):
    """A transformer encoder over words, with positions and a mask."""

    def __init__(self) -> None:
        self.words = nn.Embedding(50, 16)
        self.positions = nn.SinusoidalPositions(16, 40)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16))
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Any) -> Any:
        mask = nn.attention.causal_mask(tokens.shape[1])
        x = self.encoder(self.positions(self.words(tokens)), mask)
        return self.head(functional.softmax(x, -1).mean(1))


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


MODELS: list[tuple[str, Any, np.ndarray]] = [
    ("LeNet5", lambda: models.LeNet5(1), image(4, 1, 28, 28)),
    ("MLP", lambda: models.MLP((32, 16)), image(4, 1, 28, 28)),
    ("CNN", lambda: models.CNN(1, widths=(8, 16)), image(4, 1, 28, 28)),
    ("ResNet8", lambda: models.ResNet8(3), image(4, 3, 32, 32)),
    ("VGGSmall", lambda: models.VGGSmall(1), image(4, 1, 28, 28)),
    ("LSTM", lambda: models.LSTMClassifier(28, 10, 16, 2, bidirectional=True), image(4, 1, 28, 28)),
    ("GRU", lambda: models.GRUClassifier(28, 10, 16), image(4, 1, 28, 28)),
    ("Encoder", Encoder, np.random.default_rng(0).integers(0, 50, (4, 7))),
    ("ViTTiny", lambda: models.ViTTiny(1, depth=2), image(4, 1, 28, 28)),
    ("Autoencoder", lambda: models.Autoencoder(1, 28), image(4, 1, 28, 28)),
    ("VAE", lambda: models.VAE(1, 28), image(4, 1, 28, 28)),
]


@pytest.mark.parametrize(("name", "build", "x"), MODELS, ids=[m[0] for m in MODELS])
def test_model(name: str, build: Any, x: np.ndarray, tmp_path: Path) -> None:
    model = build()
    model(x)
    training = model.training
    minidl_onnx().export(model, x[:1], tmp_path / "m.onnx")
    assert model.training is training
    assert "forward" not in {key for m in model.modules() for key in vars(m)}
    for part in (x, x[:1], x[:3]):
        agree(model, tmp_path / "m.onnx", part)
    proto = onnx.load(tmp_path / "m.onnx")
    assert proto.producer_name == "minidl"
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_parameters_keep_their_names(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Conv1d(4, 2, 1))
    model = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 2, 1))
    minidl_onnx().export(
        model, image(2, 3), tmp_path / "m.onnx", input_names=["x"], output_names=["y"]
    )
    proto = onnx.load(tmp_path / "m.onnx")
    named = {tensor.name for tensor in proto.graph.initializer}
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= named
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == ["x", "y"]


class Odd(nn.Module):
    def __init__(self, function: Any) -> None:
        self.function = function
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.function(self.inner(x))


REFUSED = [
    (lambda x: minidl.special.digamma(x), "operation .* in the model .Odd. has no counterpart"),
    (lambda x: x * np.arange(float(len(x)), dtype="f4")[:, None], "differs from sample to sample"),
    (lambda x: x[: len(x) - 1], "depends on the batch"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED)
def test_refuses(function: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        minidl_onnx().export(Odd(function), image(2, 3), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_refuses_what_no_input_reaches_and_old_operators(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not depend on the inputs"):
        minidl_onnx().export(Odd(lambda x: minidl.ones(2)), image(2, 3), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="opset must be at least 18"):
        minidl_onnx().export(nn.ReLU(), image(2, 3), tmp_path / "m.onnx", opset=13)
    with pytest.raises(ValueError, match="1 names of inputs"):
        minidl_onnx().export(nn.ReLU(), image(2, 3), tmp_path / "m", input_names=["a", "b"])


FUNCTIONS: list[Any] = [
    lambda x: x[:, 1], lambda x: x[..., None, ::2], lambda x: x[:, [2, 0, 1, 1]],
    lambda x: x[:, -1:, :2], lambda x: x.sum(), lambda x: x.mean((1, 2), keepdim=True),
    lambda x: x.amax(1), lambda x: minidl.logsumexp(x, 2), lambda x: x.std(1),
    lambda x: minidl.where(x > 0.1, x, 2.0 * x), lambda x: x.clamp(-0.5, 0.5), lambda x: x**3,
    lambda x: minidl.log1p(x * x) + minidl.expm1(x) + minidl.rsqrt(x * x + 1.0),
    lambda x: minidl.einsum("bij,bkj->bik", x, x), lambda x: minidl.cat([x, x * 2.0], 0),
    lambda x: x.flatten(0, 1) @ np.ones((5, 2), "f4"), lambda x: minidl.stack([x, x], 1),
    lambda x: x.permute(2, 0, 1), lambda x: minidl.cumsum(x, 1), lambda x: x.argmax(2),
    lambda x: functional.pad(x, (1, 2), value=3.0), lambda x: functional.gelu(x),
    lambda x: functional.log_softmax(x, 1), lambda x: functional.layer_norm(x, (4, 5)),
    lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
    lambda x: functional.avg_pool1d(x, 2) + functional.max_pool1d(x, 2),
    lambda x: functional.conv1d(x, np.ones((2, 4, 3), "f4"), padding=1),
    lambda x: (x != 0).to(np.float32) + (~(x > 0)).to(np.float32),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_function(number: int, tmp_path: Path) -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return FUNCTIONS[number](x)

    minidl_onnx().export(Model(), image(2, 4, 5), tmp_path / "m.onnx")
    for count in (1, 4):
        agree(Model(), tmp_path / "m.onnx", image(count, 4, 5))
