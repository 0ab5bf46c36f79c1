"""Metrics of a whole set: the same however it is cut into batches."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from minidl.autograd.primitive import recording_floor
from minidl.data import ArrayDataset, DataLoader
from minidl.distributed import World
from minidl.nn.functional import cross_entropy
from minidl.tensor import Tensor
from minidl.train.metrics import (
    F1,
    Average,
    Evaluation,
    LogLoss,
    Metric,
    TopKAccuracy,
    evaluate,
)
from minidl.train.tasks import Classification, Outcome

CLASSES = 4


def _data(count: int, seed: int = 0) -> ArrayDataset:
    rng = np.random.default_rng(seed)
    return ArrayDataset(
        rng.normal(size=(count, 3)).astype(np.float32), rng.integers(0, CLASSES, count)
    )


def _model() -> Any:
    return nn.Sequential(nn.Linear(3, CLASSES, rng=np.random.default_rng(1)), nn.Dropout(0.5))


def _experiment(
    model: Any, classes: int = CLASSES, loss: Any = None, metrics: Sequence[Metric] = ()
) -> Any:
    """As much of an experiment as evaluation looks at."""
    return SimpleNamespace(
        model=model,
        loss=nn.CrossEntropyLoss() if loss is None else loss,
        task=Classification(),
        data=SimpleNamespace(classes=tuple(map(str, range(classes)))),
        metrics=list(metrics),
        placed=lambda inputs, targets: (inputs, targets),
        world=World(),
    )


def _evaluate(data: ArrayDataset, batch_size: int, **how: Any) -> Evaluation:
    loader = DataLoader(data, batch_size)
    return evaluate(_experiment(_model()), loader, part="val", **how)


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_metrics_do_not_depend_on_the_batches(count: int, batch_size: int, seed: int) -> None:
    data = _data(count, seed)
    found = _evaluate(data, batch_size)

    linear = _model()[0]
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    logits = (data.inputs @ weight.T + bias).astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    truth, guess = data.targets, logits.argmax(axis=1)
    assert found.metrics["val/accuracy"] == (guess == truth).mean()
    assert found.metrics["val/loss"] == pytest.approx(
        -logp[np.arange(count), truth].mean(), rel=1e-5
    )
    expected = np.histogram2d(truth, guess, bins=CLASSES, range=[(0, CLASSES)] * 2)[0]
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.confusion.dtype == np.int64


WEIGHTS = np.linspace(0.5, 3.0, CLASSES)
LOSSES: dict[str, Any] = {
    "cross-entropy": lambda: nn.CrossEntropyLoss(WEIGHTS),
    "cross-entropy, a class ignored": lambda: nn.CrossEntropyLoss(WEIGHTS, ignore_index=1),
    "likelihood": lambda: nn.NLLLoss(WEIGHTS),
    "likelihood, a class ignored": lambda: nn.NLLLoss(WEIGHTS, ignore_index=0),
    "focal": lambda: nn.FocalLoss(weight=WEIGHTS),
    "sum": lambda: nn.CrossEntropyLoss(reduction="sum"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weighted_loss_is_that_of_all_samples_at_once(loss: str) -> None:
    data = _data(50, 3)
    model = nn.Sequential(_model(), nn.LogSoftmax(1))
    whole, cut = (
        evaluate(_experiment(model, loss=LOSSES[loss]()), DataLoader(data, size), part="val")
        for size in (50, 7)
    )
    assert cut.metrics["val/loss"] == pytest.approx(whole.metrics["val/loss"], rel=1e-6)


def test_rows_are_true_classes_and_columns_predicted() -> None:
    # Always the last class.
    model = nn.Linear(1, 3)
    model.load_state_dict({"weight": np.zeros((3, 1)), "bias": np.array([0.0, 0.0, 1.0])})
    data = ArrayDataset(np.zeros((5, 1), np.float32), np.array([0, 0, 1, 2, 2]))
    found = evaluate(_experiment(model, 3), DataLoader(data, 2), part="test")
    np.testing.assert_array_equal(found.confusion, [[0, 0, 2], [0, 0, 1], [0, 0, 2]])
    assert found.metrics["test/accuracy"] == 0.4


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back(training: bool) -> None:
    model = _model().train(training)
    evaluate(_experiment(model), DataLoader(_data(9), 4), part="val")
    assert all(module.training is training for module in model.modules())


def test_evaluation_is_without_dropout_and_without_derivatives() -> None:
    model = _model().train()
    generator = np.random.default_rng(0)
    model[1].rng = generator
    before = generator.bit_generator.state
    seen = []

    def loss(logits: Any, labels: Any) -> Any:
        seen.append(logits.requires_grad)
        return cross_entropy(logits, labels)

    evaluate(_experiment(model, loss=loss), DataLoader(_data(9), 4), part="val")
    assert seen == [False] * 3
    assert generator.bit_generator.state == before


class Stop(Exception):  # noqa: N818
    pass


def test_on_batch_is_called_after_each_batch_and_may_stop() -> None:
    calls = []
    _evaluate(_data(10), 4, on_batch=lambda: calls.append(1))
    assert len(calls) == 3

    model, floor = _model().train(), recording_floor.get()

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        evaluate(_experiment(model), DataLoader(_data(10), 4), part="val", on_batch=stop)
    assert all(module.training for module in model.modules())
    assert recording_floor.get() == floor
    assert model(Tensor(np.zeros((2, 3), np.float32))).requires_grad


def test_an_average_weighs_batches() -> None:
    average = Average()
    average.add(Outcome(2.0, 3.0, 3, np.array([0, 1, 2]), np.array([0, 2, 1])))
    average.add(Outcome(5.0, 1.0, 1, np.array([1]), np.array([1])))
    assert average.metrics("train") == {"train/loss": 11 / 4, "train/accuracy": 0.5}


def test_an_average_of_weights_that_are_all_zero_has_no_loss() -> None:
    average = Average()
    average.add(Outcome(0.0, 0.0, 2, np.array([0, 1]), np.array([0, 0])))
    found = average.metrics("val")
    assert math.isnan(found["val/loss"])
    assert found["val/accuracy"] == 0.5


def test_an_average_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(0)
    outcomes = [
        Outcome(rng.random(), 3.0 * rng.random(), 3, rng.integers(0, 2, 3), rng.integers(0, 2, 3))
        for _ in range(20)
    ]
    whole, first, second = Average(), Average(), Average()
    for outcome in outcomes:
        whole.add(outcome)
    for outcome in outcomes[:7]:
        first.add(outcome)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for outcome in outcomes[7:]:
        second.add(outcome)
    assert second.metrics("train") == whole.metrics("train")
    assert vars(second) == vars(whole)
    with pytest.raises(ValueError, match="a state has loss, weight, correct, count, classified"):
        second.load_state_dict({"loss": 1.0})


def test_metrics_start_anew_and_take_all_samples() -> None:
    data = _data(50)
    metrics: list[Metric] = [F1("none"), LogLoss(), TopKAccuracy(2)]
    experiment = _experiment(_model(), metrics=metrics)
    first = evaluate(experiment, DataLoader(data, 7), part="val").metrics
    again = evaluate(experiment, DataLoader(data, 50), part="val").metrics
    assert list(first) == [
        *("val/loss", "val/accuracy", "val/f1/0", "val/f1/1", "val/f1/2", "val/f1/3"),
        *("val/log_loss", "val/top2_accuracy"),
    ]
    assert first == pytest.approx(again, rel=1e-6)
    assert metrics[0].count == 50
    assert first["val/log_loss"] == pytest.approx(first["val/loss"], rel=1e-6)


class Chosen:
    """A sampler of some samples."""

    def __init__(self, chosen: Sequence[int]) -> None:
        self.chosen = np.array(chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def order(self, epoch: int) -> Any:
        return self.chosen


def test_mistakes_have_their_place_in_the_dataset() -> None:
    data = _data(40)
    experiment = _experiment(_model())
    order = [7, 3, 30, 21, 11, 2, 39]
    loader = DataLoader(data, 3, sampler=Chosen(order))
    found = evaluate(experiment, loader, part="val", worst=40, reliability=True)
    assert found.mistakes
    assert {mistake.index for mistake in found.mistakes} <= set(order)
    assert all(data.targets[mistake.index] == mistake.truth for mistake in found.mistakes)
    assert len(found.mistakes) == 7 - np.trace(found.confusion)
    assert found.reliability is not None
    assert found.reliability.samples.sum() == 7
