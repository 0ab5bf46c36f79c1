"""``weight: balanced``: scikit-learn's definition, from the samples that are trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from minidl.train.balance import class_weights, positive_weights
from minidl.train.build import build
from minidl.train.config import Config, ConfigError

pytest_plugins = ["tiny_runs"]

Load = Callable[..., Config]


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [0, 0, 0, 1], [2, 1, 0, 0, 2, 2, 2], list(range(5)) * 3 + [4] * 40, [0]],
)
def test_class_weights_are_scikit_learns(labels: list[int]) -> None:
    y = np.array(labels)
    names = tuple("abcdefg"[: y.max() + 1])
    wanted = compute_class_weight("balanced", classes=np.arange(len(names)), y=y)
    np.testing.assert_allclose(class_weights(y, names), wanted, rtol=1e-15)


def test_each_class_weighs_the_same_in_sum() -> None:
    y = np.random.default_rng(0).choice(4, size=1000, p=[0.7, 0.2, 0.07, 0.03])
    weights = np.array(class_weights(y, tuple("abcd")))
    np.testing.assert_allclose(np.bincount(y) * weights, 250.0)


def test_a_class_without_samples() -> None:
    with pytest.raises(ValueError, match="no training sample is of class b, d, which so has no"):
        class_weights(np.array([0, 2]), tuple("abcd"))


def test_positive_weights() -> None:
    assert positive_weights(np.array([0.0, 0, 0, 1])) == [3.0]
    assert positive_weights(np.array([[0, 1], [1, 1], [0, 1], [0, 1]])) == [3.0, 0.0]
    with pytest.raises(ValueError, match="other than 0 and 1"):
        positive_weights(np.array([0, 0.5]))
    with pytest.raises(ValueError, match="0 in every training sample"):
        positive_weights(np.array([[0, 1], [0, 1]]))


def test_a_run_takes_the_weights_of_its_training_samples(tiny: Load) -> None:
    experiment = build(tiny("loss={type: CrossEntropyLoss, weight: balanced}"))
    labels = experiment.data.train.dataset.targets
    assert len(labels) == 300, "and not the 5,700 that are held out"
    wanted = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    found = experiment.loss.weight.numpy()
    np.testing.assert_allclose(found, wanted.astype(np.float32), rtol=1e-6)
    assert found.dtype == np.float32


def test_the_config_keeps_the_word(tiny: Load) -> None:
    config = tiny("loss={type: FocalLoss, weight: balanced}")
    assert config.resolved()["loss"]["weight"] == "balanced"
    build(config)


def test_weights_can_be_written_out(tiny: Load) -> None:
    weights = ", ".join(str(i + 1) for i in range(10))
    experiment = build(tiny(f"loss={{type: CrossEntropyLoss, weight: [{weights}]}}"))
    np.testing.assert_array_equal(
        experiment.loss.weight.numpy(), np.arange(1, 11, dtype=np.float32)
    )


def test_the_wrong_number_of_weights(tiny: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        build(tiny("loss.weight=[1.0, 2.0]"))
    assert str(caught.value) == (
        "command line: loss.weight=[1.0, 2.0]: `weight` has 2 numbers, and MNISTSample has 10"
        " classes: wanted one a class"
    )


@pytest.mark.parametrize(
    ("override", "message", "suggestion"),
    [
        ("loss.weight=balance", '`weight` must be a list or `balanced`, got text "balance"',
         "did you mean `balanced`?"),
        ("loss.weight=[1, x]", 'item 2 of `weight` must be a number, got text "x"', None),
        ("loss={type: BCELoss, weight: balanced}",
         '`weight` must be a list, got text "balanced"', None),
    ],
)  # fmt: skip
def test_what_weights_cannot_be(
    override: str, message: str, suggestion: str | None, tiny: Load
) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny(override)
    (problem,) = caught.value.problems
    assert (problem.message, problem.suggestion) == (message, suggestion)


BINARY = """\
data: {type: CSV, path: rows.csv, target: y, task: regression, val_fraction: 0}
model: {type: Sequential, layers: [{type: Linear, out_features: 1}]}
loss: {type: BCEWithLogitsLoss, pos_weight: balanced}
optimizer: {type: SGD, lr: 0.1}
trainer: {monitor: train/loss}
"""


def test_positive_targets_of_a_binary_loss(tiny: Load) -> None:
    rows = "a,y\n" + "".join(f"{i / 10},{int(i % 4 == 0)}\n" for i in range(40))
    config = tiny(text=BINARY)
    Path("rows.csv").write_text(rows)
    experiment = build(config)
    targets = experiment.data.train.dataset.targets
    assert experiment.loss.pos_weight.numpy() == pytest.approx(
        [(targets == 0).sum() / (targets == 1).sum()]
    )
    Path("rows.csv").write_text(rows.replace(",1\n", ",2\n"))
    with pytest.raises(ConfigError, match=r"tiny.yaml:3:45: training targets other than 0 and 1"):
        build(config)
