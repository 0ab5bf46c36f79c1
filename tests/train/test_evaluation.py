"""Evaluating a run again gives what the run found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import Done

from minidl.train.checkpoint import CheckpointError
from minidl.train.config import ConfigError
from minidl.train.evaluation import evaluate_run
from minidl.train.inference import Predictor

pytest_plugins = ["tiny_runs"]


@pytest.fixture
def done(train: Callable[..., Done]) -> Done:
    return train()


def test_the_test_metrics_of_the_run(done: Done) -> None:
    found, experiment = evaluate_run(done.run.root)
    assert found.metrics == done.result.metrics
    assert found.confusion.sum() == 1000
    assert len(experiment.data.classes) == 10


def test_the_validation_metrics_of_the_best_epoch(done: Done) -> None:
    found, _ = evaluate_run(done.run.root, part="val")
    (best,) = (
        entry.metrics
        for entry in done.entries
        if entry.epoch == done.result.best_epoch and "val/loss" in entry.metrics
    )
    assert found.metrics == best


def test_overrides(done: Done) -> None:
    found, _ = evaluate_run(done.run.root, ["data.batch_size=512"])
    assert found.metrics["test/accuracy"] == done.result.metrics["test/accuracy"]
    with pytest.raises(ConfigError, match="bach_size"):
        evaluate_run(done.run.root, ["data.bach_size=512"])


def test_a_directory_that_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match="not a run directory") as caught:
            evaluate_run(path)
        assert str(path) in str(caught.value)


def test_a_run_without_a_model(done: Done) -> None:
    done.run.weights.unlink()
    with pytest.raises(CheckpointError, match="there is no such file") as caught:
        evaluate_run(done.run.root)
    assert str(done.run.weights) in str(caught.value)


def test_a_model_of_another_shape(done: Done) -> None:
    with pytest.raises(CheckpointError, match=r"1\.weight") as caught:
        evaluate_run(done.run.root, ["model.layers.1.out_features=17"])
    assert str(done.run.weights) in str(caught.value)


def test_a_part_that_is_not_there(done: Done) -> None:
    overrides = ["data.val_fraction=0", "trainer.monitor=train/loss"]
    with pytest.raises(ConfigError, match="there are no 'val' samples"):
        evaluate_run(done.run.root, overrides, part="val")


def test_what_a_report_needs(done: Done) -> None:
    found, experiment = evaluate_run(done.run.root, worst=7, reliability=True)
    assert found.confusion is not None
    assert found.reliability is not None
    assert found.reliability.samples.sum() == 1000
    losses = [mistake.loss for mistake in found.mistakes]
    assert len(losses) == 7
    assert losses == sorted(losses, reverse=True)
    predictor = Predictor.load(done.run.model)
    test = experiment.data.test.dataset
    for mistake in found.mistakes:
        assert test.targets[mistake.index] == mistake.truth != mistake.guess
        (probabilities,) = predictor.probabilities(test.inputs[[mistake.index]])
        assert probabilities.argmax() == mistake.guess
        assert mistake.probability == pytest.approx(probabilities.max(), rel=1e-4)
        assert mistake.loss == pytest.approx(-np.log(probabilities[mistake.truth]), rel=1e-4)
    plain, _ = evaluate_run(done.run.root)
    assert plain.metrics == found.metrics
    assert plain.mistakes == []
    assert plain.reliability is None


def test_what_was_monitored_may_be_taken_away(train: Callable[..., Done]) -> None:
    done = train("metrics=[{type: F1}]", "trainer.monitor=val/f1_macro", "trainer.epochs=1")
    found, _ = evaluate_run(done.run.root, ["metrics=[{type: BrierScore}]"])
    assert list(found.metrics) == ["test/loss", "test/accuracy", "test/brier_score"]
    with pytest.raises(ConfigError, match="R2Score is no metric of Classification"):
        evaluate_run(done.run.root, ["metrics=[{type: R2Score}]"])


def test_other_metrics_than_the_run_had(done: Done) -> None:
    found, _ = evaluate_run(done.run.root, ["metrics=[{type: F1}, {type: TopKAccuracy, k: 2}]"])
    assert found.metrics.items() > done.result.metrics.items()
    assert list(found.metrics)[2:] == ["test/f1_macro", "test/top2_accuracy"]
    assert found.metrics["test/top2_accuracy"] > found.metrics["test/accuracy"]
