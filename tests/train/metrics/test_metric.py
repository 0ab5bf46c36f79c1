"""What all metrics have in common: batches do not matter, names, directions, refusals."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.train import metrics
from minidl.train.metrics import (
    AUROC,
    F1,
    Accuracy,
    BrierScore,
    CalibrationError,
    ClassMetric,
    LogLoss,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    NumberMetric,
    Precision,
    R2Score,
    Recall,
    TopKAccuracy,
    better,
    higher_is_better,
)
from minidl.train.metrics.metric import labels, softmax
from minidl.train.metrics.scores import surprise

CLASSES = 6
METRICS: list[Metric] = [
    Accuracy(),
    TopKAccuracy(3),
    *(cls(average) for cls in (Precision, Recall, F1) for average in F1.averages),  # type: ignore[arg-type]
    *(AUROC(average) for average in AUROC.averages),  # type: ignore[arg-type]
    BrierScore(),
    LogLoss(),
    CalibrationError(),
    CalibrationError(bins=4),
    MeanSquaredError(),
    MeanAbsoluteError(),
    R2Score(),
]
every = pytest.mark.parametrize(
    "metric", METRICS, ids=lambda metric: str(vars(metric).get("name", metric.name))
)


def _samples(metric: Metric, seed: int, count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    if isinstance(metric, NumberMetric):
        shape = (count, 2)
        return rng.normal(size=shape).astype(np.float32), 1e3 + rng.normal(size=shape)
    logits = rng.normal(size=(count, CLASSES)).astype(np.float32) * 3
    if seed % 2:
        logits = np.round(logits)  # ties
    return logits, rng.integers(0, CLASSES, count)


def test_every_metric_is_in_the_table() -> None:
    public = {
        cls
        for name in metrics.__all__
        if inspect.isclass(cls := getattr(metrics, name)) and issubclass(cls, Metric)
    }
    assert {type(metric) for metric in METRICS} == public - {Metric, ClassMetric, NumberMetric}


@every
@given(
    seed=st.integers(0, 20),
    count=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    shuffled=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_batches_do_not_matter_to_the_last_bit(
    metric: Metric, seed: int, count: int, cuts: list[int], shuffled: bool
) -> None:
    outputs, targets = _samples(metric, seed, count)
    metric.reset()
    metric.update(outputs, targets)
    whole = np.asarray(metric.compute())
    metric.reset()
    order = np.arange(count)
    if shuffled and not isinstance(metric, R2Score):  # which takes differences from the first
        np.random.default_rng(seed).shuffle(order)
    for chosen in np.split(order, sorted(cut for cut in cuts if cut <= count)):
        metric.update(outputs[chosen], targets[chosen])
    assert np.asarray(metric.compute()).tobytes() == whole.tobytes()
    assert metric.count == count


@every
def test_without_samples_it_is_nan(metric: Metric) -> None:
    metric.reset()
    outputs, targets = _samples(metric, 0, 0)
    metric.update(outputs, targets)
    assert metric.count == 0
    figures = metric.figures([str(i) for i in range(CLASSES)])
    assert figures
    assert all(math.isnan(value) for value in figures.values())


@every
def test_what_was_given_is_not_changed_nor_needed_later(metric: Metric) -> None:
    outputs, targets = _samples(metric, 3, 40)
    metric.reset()
    given_outputs, given_targets = outputs.copy(), targets.copy()
    metric.update(given_outputs, given_targets)
    assert given_outputs.tobytes() == outputs.tobytes()
    assert given_targets.tobytes() == targets.tobytes()
    found = np.asarray(metric.compute())
    given_outputs[:], given_targets[:] = 0, 0
    assert np.asarray(metric.compute()).tobytes() == found.tobytes()


@every
def test_names_and_directions(metric: Metric) -> None:
    classes = ["cat", "dog", "T-shirt/top", "d", "e", "f"]
    outputs, targets = _samples(metric, 3, 40)
    metric.reset()
    metric.update(outputs, targets)
    figures = metric.figures(classes)
    assert list(figures) == metric.names(classes)
    if getattr(metric, "average", "") == "none":
        stem = type(metric).stem
        assert list(figures)[:3] == [f"{stem}/cat", f"{stem}/dog", f"{stem}/T-shirt_top"]
        np.testing.assert_array_equal(list(figures.values()), metric.compute())
    else:
        assert figures == {metric.name: metric.compute()}
    for name in figures:
        assert higher_is_better(f"val/{name}") is metric.higher_is_better


def test_the_names() -> None:
    given = [metric.name for metric in METRICS]
    assert given == [
        "accuracy",
        "top3_accuracy",
        *(
            f"{stem}{average}"
            for stem in ("precision", "recall", "f1")
            for average in ("_macro", "_micro", "_weighted", "")
        ),
        *("auroc", "auroc_weighted", "auroc"),
        *("brier_score", "log_loss", "calibration_error", "calibration_error"),
        *("mse", "mae", "r2"),
    ]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["0", "1"], ["0", "1"]),
        (["a b", "a/b", "ä"], ["a b", "a_b", "ä"]),
        (["a/b", "a:b"], ["0", "1"]),
        (["ok", ".."], ["0", "1"]),
        (["ok", ""], ["0", "1"]),
    ],
)
def test_labels(classes: list[str], expected: list[str]) -> None:
    assert labels(classes) == expected


def test_labels_are_names_that_mlflow_takes() -> None:
    validation = pytest.importorskip("mlflow.utils.validation")
    for name in labels(["a b", "T-shirt/top", "ä<5>", "x.y", "-"]):
        validation._validate_metric_name(f"val/f1/{name}")


@pytest.mark.parametrize(
    ("name", "value", "best", "expected"),
    [
        ("val/loss", 1.0, None, True),
        ("val/loss", 1.0, 2.0, True),
        ("val/loss", 2.0, 2.0, False),
        ("train/accuracy", 0.5, 0.4, True),
        ("val/accuracy", 0.4, 0.4, False),
        ("val/f1/loss", 0.5, 0.4, True),  # a class of that name
        ("val/mae", 0.5, 0.4, False),
        ("val/r2", math.nan, None, True),
        ("val/r2", math.nan, -3.0, False),
        ("val/r2", -3.0, math.nan, True),
        ("val/loss", math.nan, math.nan, False),
        ("val/loss", 5.0, math.inf, True),
    ],
)
def test_better(name: str, value: float, best: float | None, expected: bool) -> None:
    assert better(name, value, best) is expected


REFUSED: list[tuple[Any, str]] = [
    (lambda: F1("mean"), "F1: average must be one of macro, micro, weighted, none, got 'mean'"),  # type: ignore[arg-type]
    (lambda: AUROC("micro"), "AUROC: average must be one of macro, weighted, none, got 'micro'"),  # type: ignore[arg-type]
    (lambda: TopKAccuracy(0), "k must be at least 1, got 0"),
    (lambda: CalibrationError(0), "bins must be at least 1, got 0"),
    (
        lambda: Accuracy().update(np.zeros((3, 2)), np.zeros(2, int)),
        r"Accuracy: logits \(N, classes\) and class indices \(N,\) are wanted, got shapes "
        r"\(3, 2\) and \(2,\)",
    ),
    (lambda: F1().update(np.zeros(3), np.zeros(3, int)), r"got shapes \(3,\) and \(3,\)"),
    (lambda: F1().update(np.zeros((2, 2)), np.zeros(2)), "targets are class indices, got float64"),
    (lambda: F1().update(np.zeros((2, 2)), np.array([0, 2])), "target 2 is none of the 2 classes"),
    (lambda: F1().update(np.zeros((2, 2)), np.array([0, -1])), "target -1 is none"),
    (
        lambda: R2Score().update(np.zeros((3, 2)), np.zeros(3)),
        r"R2Score: predictions and targets of one shape .* got \(3, 2\) and \(3,\)",
    ),
    (lambda: R2Score().update(np.zeros(()), np.zeros(())), r"got \(\) and \(\)"),
]


@pytest.mark.parametrize(("act", "message"), REFUSED)
def test_refuses(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_a_column_of_numbers_is_as_good_as_none() -> None:
    metric = MeanSquaredError()
    metric.update(np.array([[1.0], [2.0]]), np.array([1.0, 4.0]))
    assert metric.compute() == 2.0


def test_numbers_far_from_zero_keep_their_variance() -> None:
    targets = 1e12 + np.array([0.0, 1.0, 2.0, 3.0])
    metric = R2Score()
    metric.update(targets + np.array([0.5, 0.0, 0.0, -0.5]), targets)
    assert metric.compute() == 1 - 0.5 / 5


def test_a_sample_with_nan_is_not_among_the_best() -> None:
    metric = TopKAccuracy(1)
    metric.update(np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1]))
    assert metric.compute() == 0.5


@pytest.mark.parametrize("metric", [AUROC(), BrierScore(), LogLoss(), CalibrationError()])
def test_nan_among_the_logits_is_told(metric: Metric) -> None:
    metric.update(np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1]))
    assert math.isnan(float(metric.compute()))


def test_probabilities_of_great_logits() -> None:
    logits = np.array([[1e4, 0.0], [-np.inf, 0.0], [3.0, 3.0]], np.float32)
    np.testing.assert_array_equal(softmax(logits), [[1, 0], [0, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(surprise(logits, np.array([1, 0, 0])), [1e4, np.inf, np.log(2)])
