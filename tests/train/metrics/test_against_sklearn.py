"""Every metric against scikit-learn's, over data that are random, tied, lopsided or degenerate."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl.train.metrics import (
    AUROC,
    F1,
    Accuracy,
    BrierScore,
    CalibrationError,
    ConfusionMatrix,
    LogLoss,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Precision,
    R2Score,
    Recall,
    TopKAccuracy,
    class_table,
)
from minidl.train.metrics.metric import softmax

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra mlflow) is not here")
calibration = pytest.importorskip("sklearn.calibration")
exceptions = pytest.importorskip("sklearn.exceptions")

# ---- classes ------------------------------------------------------------------------------------


def _random(classes: int, count: int, dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(classes * 1000 + count)
    logits = rng.normal(size=(count, classes)).astype(dtype) * 2
    return logits, rng.integers(0, classes, count)


def _learned(classes: int, count: int) -> tuple[Any, Any]:
    logits, targets = _random(classes, count)
    logits[np.arange(count), targets] += 3
    return logits, targets


def _tied(classes: int, count: int) -> tuple[Any, Any]:
    logits, targets = _random(classes, count)
    return np.round(logits), targets


def _rare(classes: int, count: int) -> tuple[Any, Any]:
    """Some classes have few samples, and one has none."""
    logits, targets = _learned(classes, count)
    present = np.delete(np.arange(classes), 1)
    return logits, present[np.minimum(targets, 2) % len(present)]


def _never_guessed() -> tuple[Any, Any]:
    """Class 3 is neither there nor guessed, class 2 never guessed, class 0 without samples."""
    logits = np.full((6, 4), -5.0, np.float32)
    logits[np.arange(6), [0, 1, 1, 0, 1, 1]] = 5.0
    return logits, np.array([1, 1, 2, 2, 1, 1])


DATA: dict[str, tuple[Any, Any]] = {
    "binary": _random(2, 300),
    "binary learned": _learned(2, 101),
    "binary tied": _tied(2, 200),
    "three": _random(3, 50),
    "ten learned": _learned(10, 500),
    "ten tied": _tied(10, 400),
    "twenty": _random(20, 600),
    "twenty in float64": _random(20, 600, np.float64),
    "rare": _rare(6, 300),
    "never guessed": _never_guessed(),
    "all the same": (np.zeros((8, 3), np.float32), np.array([0, 1, 2, 0, 1, 2, 0, 0])),
    "one sample": (np.array([[1.0, 2.0, 0.5]], np.float32), np.array([2])),
    "perfect": (np.eye(4, dtype=np.float32)[np.arange(12) % 4] * 9, np.arange(12) % 4),
    "always wrong": (-np.eye(4, dtype=np.float32)[np.arange(12) % 4] * 9, np.arange(12) % 4),
}
each = pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())


def _after(metric: Metric, outputs: Any, targets: Any) -> Any:
    # As several ranks would take them in: one of them has no sample at all.
    shares = [copy.deepcopy(metric) for _ in range(4)]
    for number, begin in enumerate(range(0, len(targets), 37)):
        batch = outputs[begin : begin + 37], targets[begin : begin + 37]
        metric.update(*batch)
        shares[number % 3 + 1].update(*batch)
    found, whole = metric.compute(), shares[0]
    for share in shares[1:]:
        whole.merge(share)
    assert whole.count == metric.count
    exact = not isinstance(metric, R2Score)  # which takes differences from another sample
    np.testing.assert_allclose(whole.compute(), found, rtol=0.0 if exact else 1e-9)
    return found


@each
def test_accuracy(data: tuple[Any, Any]) -> None:
    logits, truth = data
    assert _after(Accuracy(), *data) == sklearn.accuracy_score(truth, logits.argmax(1))


@each
@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_top_k(data: tuple[Any, Any], k: int) -> None:
    logits, truth = data
    classes = logits.shape[1]
    if k >= classes:
        with pytest.raises(ValueError, match=f"`k` must be below the number of classes, {classes}"):
            TopKAccuracy(k).check([str(i) for i in range(classes)])
    elif classes == 2:  # scikit-learn takes one score a sample, and equals for the first class
        expected = sklearn.top_k_accuracy_score(truth, logits[:, 1] - logits[:, 0], k=1)
        ties = np.mean((logits[:, 0] == logits[:, 1]) * (2 * truth - 1))
        assert _after(TopKAccuracy(k), *data) == pytest.approx(expected + ties)
    else:
        expected = sklearn.top_k_accuracy_score(truth, logits, k=k, labels=range(classes))
        assert _after(TopKAccuracy(k), *data) == expected


SHARES: list[tuple[Any, Any]] = [
    (Precision, sklearn.precision_score),
    (Recall, sklearn.recall_score),
    (F1, sklearn.f1_score),
]


@each
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize(("ours", "theirs"), SHARES, ids=["precision", "recall", "f1"])
def test_averaged_shares(
    data: tuple[Any, Any], ours: Any, theirs: Callable[..., float], average: str
) -> None:
    logits, truth = data
    expected = theirs(truth, logits.argmax(1), average=average, zero_division=0)
    assert _after(ours(average), *data) == pytest.approx(expected, rel=1e-14)


@each
@pytest.mark.parametrize(("ours", "theirs"), SHARES, ids=["precision", "recall", "f1"])
def test_shares_of_each_class(data: tuple[Any, Any], ours: Any, theirs: Any) -> None:
    logits, truth = data
    expected = theirs(
        truth, logits.argmax(1), average=None, zero_division=0, labels=range(logits.shape[1])
    )
    np.testing.assert_array_equal(_after(ours("none"), *data), expected)


@each
def test_the_confusion_matrix_and_its_table(data: tuple[Any, Any]) -> None:
    logits, truth = data
    classes, guess = range(logits.shape[1]), logits.argmax(1)
    matrix = ConfusionMatrix(len(classes))
    for begin in range(0, len(truth), 37):
        matrix.update(guess[begin : begin + 37], truth[begin : begin + 37])
    expected = sklearn.confusion_matrix(truth, guess, labels=classes)
    np.testing.assert_array_equal(matrix.counts, expected)
    rows = sklearn.precision_recall_fscore_support(truth, guess, labels=classes, zero_division=0)
    table = class_table(matrix.counts)
    for name, values in zip(("precision", "recall", "f1", "support"), rows, strict=True):
        assert [row[name] for row in table] == values.tolist()


@each
@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
def test_auroc(data: tuple[Any, Any], average: str) -> None:
    logits, truth = data
    classes, scores = logits.shape[1], softmax(logits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        if classes == 2:
            expected = sklearn.roc_auc_score(truth, scores[:, 1])
        else:
            expected = sklearn.roc_auc_score(
                truth,
                scores,
                labels=range(classes),
                multi_class="ovr",
                average=None if average == "none" else average,
            )
    found = _after(AUROC(average), *data)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, np.broadcast_to(expected, np.shape(found)), rtol=1e-13)


@each
def test_brier_score(data: tuple[Any, Any]) -> None:
    logits, truth = data
    expected = sklearn.brier_score_loss(truth, softmax(logits), labels=range(logits.shape[1]))
    assert _after(BrierScore(), *data) == pytest.approx(expected, rel=1e-14)


@each
def test_log_loss(data: tuple[Any, Any]) -> None:
    logits, truth = data
    expected = sklearn.log_loss(truth, softmax(logits), labels=range(logits.shape[1]))
    assert _after(LogLoss(), *data) == pytest.approx(expected, rel=1e-12)


@each
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_reliability(data: tuple[Any, Any], bins: int) -> None:
    logits, truth = data
    right, confidence = logits.argmax(1) == truth, softmax(logits).max(1)
    accuracy, mean = calibration.calibration_curve(right, confidence, n_bins=bins)
    metric = CalibrationError(bins)
    error = _after(metric, *data)
    found = metric.reliability()
    filled = found.samples > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy, rtol=1e-14)
    np.testing.assert_allclose(found.confidence[filled], mean, rtol=1e-14)
    assert found.samples.sum() == len(truth)
    weights = found.samples[filled] / len(truth)
    assert error == pytest.approx(float((weights * np.abs(accuracy - mean)).sum()), rel=1e-12)
    assert error == found.error


# ---- numbers ------------------------------------------------------------------------------------


def _numbers(count: int, columns: int, offset: float = 0.0, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(count)
    targets = (rng.normal(size=(count, columns)) * [10.0**i for i in range(columns)]).astype(dtype)
    return (targets + rng.normal(size=targets.shape).astype(dtype) / 2), targets + dtype(offset)


NUMBERS: dict[str, tuple[Any, Any]] = {
    "one": _numbers(400, 1),
    "three": _numbers(301, 3),
    "in float64": _numbers(301, 3, dtype=np.float64),
    "far from zero": _numbers(300, 1, offset=1e8, dtype=np.float64),
    "perfect": (np.arange(9.0), np.arange(9.0)),
    "constant and met": (np.full(5, 2.0), np.full(5, 2.0)),
    "constant and missed": (np.array([2.0, 2.0, 3.0]), np.full(3, 2.0)),
    "worse than the mean": (-np.arange(9.0), np.arange(9.0)),
    "two samples": (np.array([1.0, 2.5]), np.array([1.5, 2.0])),
    "one column of two": (
        np.array([[1.0, 5.0], [2.0, 5.0]]),
        np.array([[1.5, 5.0], [2.0, 5.0]]),
    ),
}


@pytest.mark.parametrize("data", NUMBERS.values(), ids=NUMBERS.keys())
@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        (MeanSquaredError, sklearn.mean_squared_error),
        (MeanAbsoluteError, sklearn.mean_absolute_error),
        (R2Score, sklearn.r2_score),
    ],
    ids=["mse", "mae", "r2"],
)
def test_numbers(data: tuple[Any, Any], metric: Any, theirs: Any) -> None:
    outputs, targets = (np.asarray(part, np.float64) for part in data)
    assert _after(metric(), *data) == pytest.approx(theirs(targets, outputs), rel=1e-12)


def test_r2_of_one_sample_is_undefined() -> None:
    assert math.isnan(_after(R2Score(), np.array([1.0]), np.array([2.0])))
