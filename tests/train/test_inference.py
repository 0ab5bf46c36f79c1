"""A trained model on its own: the same answers, by minidl and by PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.autograd import no_grad
from minidl.data import normalize
from minidl.ops import softmax
from minidl.tensor import Tensor
from minidl.train.build import Experiment, build
from minidl.train.checkpoint import CheckpointError, model_bytes, read_arrays, write_atomically
from minidl.train.config import Config
from minidl.train.inference import Predictor, best_model
from minidl.train.optimization import Stepper
from minidl.train.run_directory import RunDirectory

pytest_plugins = ["tiny_runs"]

CNN = """\
data: {type: MNISTSample}
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 4, kernel_size: 3, padding: 1, stride: 2}
    - {type: BatchNorm2d}
    - {type: GELU}
    - {type: AvgPool2d, kernel_size: 2}
    - {type: Conv2d, out_channels: 6, kernel_size: [3, 2]}
    - {type: Tanh}
    - {type: MaxPool2d, kernel_size: 2}
    - {type: Flatten}
    - {type: Dropout}
    - {type: Linear, out_features: 12}
    - {type: BatchNorm1d}
    - {type: Sigmoid}
    - {type: Linear, out_features: 10}
optimizer: {type: SGD, lr: 0.1}
trainer: {name: cnn}
"""


@pytest.fixture
def saved(tiny: Callable[..., Config]) -> tuple[Experiment, Path]:
    """A model with running statistics of its own, and the directory it was saved in."""
    config = tiny(text=CNN)
    experiment = build(config)
    inputs, _ = next(iter(experiment.data.train))
    experiment.model(inputs)
    run = RunDirectory.create(config)
    write_atomically(run.weights, best_model(experiment.model, experiment.data))
    return experiment, run.model


def _images(experiment: Experiment, count: int) -> Any:
    return experiment.data.test.dataset.inputs[:count]


def test_the_same_probabilities_as_the_models(saved: tuple[Experiment, Path]) -> None:
    experiment, directory = saved
    images = _images(experiment, 300)  # more than one batch
    predictor = Predictor.load(directory)
    found = predictor.probabilities(images)
    data = experiment.data
    with no_grad():
        batch = Tensor(normalize(images, mean=data.mean, std=data.std))
        expected = softmax(experiment.model.eval()(batch), 1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert found.shape == (300, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert predictor.classes == tuple("0123456789")
    assert predictor.sample_shape == (1, 28, 28)


def test_the_same_as_under_torch(saved: tuple[Experiment, Path], torch: Any) -> None:
    from safetensors.torch import load_file

    experiment, directory = saved
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, stride=2),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, (3, 2)),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6 * 2 * 3, 12),
        nn.BatchNorm1d(12),
        nn.Sigmoid(),
        nn.Linear(12, 10),
    )
    arrays = load_file(directory / "model.safetensors")
    missing = model.load_state_dict(arrays, strict=False)
    assert missing.unexpected_keys == []
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    images = _images(experiment, 20)
    data = experiment.data
    with torch.no_grad():
        batch = (torch.tensor(images) / 255 - data.mean) / data.std
        expected = torch.softmax(model.eval()(batch), 1).numpy()
    np.testing.assert_allclose(Predictor.load(directory).probabilities(images), expected, atol=1e-5)


def test_no_samples_no_probabilities(saved: tuple[Experiment, Path]) -> None:
    found = Predictor.load(saved[1]).probabilities(np.zeros((0, 1, 28, 28), np.uint8))
    assert found.shape == (0, 10)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (2, 28, 28), (2, 1, 28, 27), (2, 784)])
def test_samples_of_another_shape(saved: tuple[Experiment, Path], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, 1, 28, 28\) are wanted, got") as caught:
        Predictor.load(saved[1]).probabilities(np.zeros(shape, np.uint8))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
def test_samples_that_are_not_raw(saved: tuple[Experiment, Path], dtype: Any) -> None:
    with pytest.raises(ValueError, match="raw uint8 samples"):
        Predictor.load(saved[1]).probabilities(np.zeros((2, 1, 28, 28), dtype))


# ---- damage -------------------------------------------------------------------------------------


def _refused(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Predictor.load(directory)
    assert str(directory) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_a_missing_file(saved: tuple[Experiment, Path], name: str) -> None:
    (saved[1] / name).unlink()
    assert name in _refused(saved[1])


@pytest.mark.parametrize("length", [0, 5, 60, 1000, -1])
def test_truncated_weights(saved: tuple[Experiment, Path], length: int) -> None:
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "model.safetensors" in _refused(saved[1])


def test_weights_of_garbage(saved: tuple[Experiment, Path]) -> None:
    (saved[1] / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    _refused(saved[1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sample_shape", [28, 28]),
        ("sample_shape", "abc"),
        ("sample_shape", [1, 2, 2]),
        ("sample_shape", None),
        ("classes", 3),
        ("mean", {}),
        ("dtype", "uint9"),
        ("std", "wide"),
        ("std", ...),
    ],
)
def test_metadata_that_are_wrong(saved: tuple[Experiment, Path], key: str, value: Any) -> None:
    experiment, directory = saved
    path = directory / "model.safetensors"
    facts = json.loads(read_arrays(path)[1]["minidl"])
    facts[key] = value
    if value is ...:
        del facts[key]
    write_atomically(path, model_bytes(experiment.model, {"minidl": json.dumps(facts)}))
    _refused(directory)


@pytest.mark.parametrize("metadata", [{}, {"minidl": "{"}, {"minidl": "[]"}, {"minidl": "3"}])
def test_metadata_that_are_none(saved: tuple[Experiment, Path], metadata: dict[str, str]) -> None:
    write_atomically(saved[1] / "model.safetensors", model_bytes(saved[0].model, metadata))
    _refused(saved[1])


def test_a_config_of_another_model(saved: tuple[Experiment, Path]) -> None:
    path = saved[1] / "config.yaml"
    path.write_text(path.read_text().replace("out_features: 12", "out_features: 13"))
    message = _refused(saved[1])
    assert "do not make a model" in message
    assert "9.weight" in message


@pytest.mark.parametrize("text", ["", "{", "model: 3", "\0"])
def test_a_config_that_is_none(saved: tuple[Experiment, Path], text: str) -> None:
    (saved[1] / "config.yaml").write_text(text)
    _refused(saved[1])


def test_metadata_tell_how_to_feed_the_model(saved: tuple[Experiment, Path]) -> None:
    metadata = read_arrays(saved[1] / "model.safetensors")[1]
    assert json.loads(metadata["minidl"]) == {
        "sample_shape": [1, 28, 28],
        "dtype": "uint8",
        "classes": list("0123456789"),
        "mean": 0.1307,
        "std": 0.3081,
    }


def test_answers_of_a_model_in_float64(train: Callable[..., Any]) -> None:
    run = train("dtype=float64", "trainer.epochs=1").run
    arrays, _ = read_arrays(run.weights)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float64)}
    answers = Predictor.load(run.model).answers(np.zeros((2, 1, 28, 28), np.uint8))
    assert answers.dtype == np.float64


@pytest.mark.parametrize(
    ("task", "model"), [("Reconstruction", "VAE"), ("Adversarial", "DCGANSmall")]
)
def test_models_that_draw_train_in_float64(
    task: str, model: str, tiny: Callable[..., Config]
) -> None:
    config = tiny(
        *("dtype=float64", "data.batch_size=2", "loss={type: BCEWithLogitsLoss}"),
        *(f"task={{type: {task}}}", f"model={{type: {model}, latent: 2}}"),
        "trainer.monitor=train/loss",
    )
    experiment = build(config)
    (outcome,) = Stepper(experiment, config.trainer).step([next(iter(experiment.data.train))])
    assert outcome.count == 2
    assert {p.grad.dtype for p in experiment.model.parameters() if p.grad is not None} == {
        np.dtype(np.float64)
    }
    assert experiment.model.sample(2, np.random.default_rng(0)).dtype == np.float64
