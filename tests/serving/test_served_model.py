"""Where a model is loaded from, and what is told of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow_stores import MLFLOW_MARKS

from minidl.serving.served_model import ServedModel
from minidl.train.checkpoint import CheckpointError
from minidl.train.inference import Predictor, find_model

Runs = Callable[[str], Path]


def test_a_run_or_its_folder(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs("digits")
    one, other = ServedModel.load(run), ServedModel.load(run / "model")
    assert one.name == other.name == "digits"
    assert one.digest == other.digest
    monkeypatch.chdir(run)
    assert ServedModel.load(Path()).name == "digits"


@pytest.mark.slow
@pytest.mark.parametrize("shape", [pytest.param((1, 28, 28), marks=MLFLOW_MARKS)])
def test_a_model_logged_to_mlflow(runs: Runs, tmp_path: Path, shape: tuple[int, ...]) -> None:
    from minidl.train.tracking.flavor import save_model

    example, saved = np.zeros((2, *shape), np.uint8), tmp_path / "logged"
    save_model(saved, runs("digits"), input_example=example)
    loaded = ServedModel.load(saved)
    assert loaded.digest == ServedModel.load(runs("digits")).digest
    assert loaded.name
    np.testing.assert_array_equal(
        loaded.answers(example), ServedModel.load(runs("digits")).answers(example)
    )


def test_what_is_no_model(runs: Runs, tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(runs("digits") / "config.yaml", unfinished)
    (tmp_path / "file").write_text("")
    (tmp_path / "logged").mkdir()
    (tmp_path / "logged/MLmodel").write_text("flavors: {}\n")
    for name, words in (
        ("nothing", "no such file or directory"),
        ("file", "no such file or directory"),
        (".", "neither a run, nor its folder `model`, nor a model logged to MLflow"),
        ("logged", "neither a run"),
        ("unfinished", "the run has no model yet"),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            find_model(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_damaged_model(runs: Runs, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs("digits"), copy)
    os.truncate(copy / "model/model.safetensors", 100)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        ServedModel.load(copy)


@pytest.mark.parametrize(
    ("name", "task", "shape", "dtype", "answer"),
    [
        ("digits", "Classification", (1, 28, 28), "uint8", (10,)),
        ("kinds", "Classification", (2,), "float32", (2,)),
        ("numbers", "Regression", (2,), "float32", (1,)),
        ("pixels", "Reconstruction", (1, 28, 28), "uint8", (1, 28, 28)),
        ("floats", "Classification", (3, 4, 5), "float32", (3,)),
    ],
)
def test_tasks_and_kinds_of_data(
    served: Callable[[str], ServedModel],
    name: str,
    task: str,
    shape: tuple[int, ...],
    dtype: str,
    answer: tuple[int, ...],
) -> None:
    model = served(name)
    predictor = model.predictor
    assert (predictor.task, predictor.sample_shape, predictor.dtype) == (task, shape, dtype)
    assert model.answer_shape == answer
    assert model.takes_pictures == (dtype == "uint8")
    none = predictor.answers(np.zeros((0, *shape), predictor.dtype))
    assert none.shape == (0, *answer)
    if task != "Classification":
        with pytest.raises(ValueError, match=f"{task} gives no probabilities"):
            predictor.probabilities(none)
    with pytest.raises(ValueError, match="raw"):
        predictor.answers(np.zeros((1, *shape), np.int32))


@pytest.mark.parametrize("name", ["numbers", "pixels", "kinds"])
def test_the_answers_of_the_training(served: Callable[[str], ServedModel], name: str) -> None:
    """What the trainer's own loader feeds the model gives what the raw samples give here."""
    from minidl.autograd import no_grad
    from minidl.nn.functional import sigmoid
    from minidl.ops import softmax
    from minidl.train.build import build

    model = served(name)
    experiment = build(model.predictor.config)
    inputs = next(iter(experiment.data.test))[0][:8]
    raw = experiment.data.test.dataset.inputs[:8]
    with no_grad():
        output = model.predictor.model(inputs)
    expected = {
        "Classification": lambda: softmax(output, 1),
        "Regression": lambda: output,
        "Reconstruction": lambda: sigmoid(output),
    }[model.predictor.task]()
    np.testing.assert_allclose(model.answers(raw), expected.numpy(), atol=1e-6)


def test_a_generator_has_no_answers(tmp_path: Path) -> None:
    from minidl.nn import Linear
    from minidl.train.config import load_config

    (tmp_path / "gan.yaml").write_text(
        "data: {type: MNISTSample}\ntask: {type: Adversarial}\n"
        "model: {type: DCGANSmall}\nloss: {type: MSELoss}\noptimizer: {type: SGD, lr: 0.1}\n"
        "trainer: {monitor: val/loss}\n"
    )
    with pytest.raises(ValueError, match="Adversarial has no answer to a sample"):
        Predictor(
            load_config(tmp_path / "gan.yaml"),
            Linear(1, 1),
            sample_shape=(1, 28, 28),
            classes=(),
            mean=None,
            std=None,
        )
