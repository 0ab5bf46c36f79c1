"""``metrics`` and ``monitor`` in a config: what a run then measures, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import Done

from minidl.train.build import build
from minidl.train.config import ConfigError
from minidl.train.metrics import AUROC, F1, MeanAbsoluteError, R2Score, monitored

pytest_plugins = ["tiny_runs"]

TABLE = """\
data: {type: CSV, path: table.csv, target: y, task: regression, batch_size: 20, val_fraction: 0.2}
model: {type: Linear, out_features: 1}
loss: {type: HuberLoss}
optimizer: {type: Adam, lr: 3e-2}
metrics: [{type: MeanSquaredError}]
trainer: {epochs: 25, monitor: val/r2, name: tiny}
"""
AUTO = """\
data: {type: MNISTSample, batch_size: 100, val_fraction: 0.9}
task: {type: Reconstruction}
model: {type: Autoencoder, latent: 8, width: 4}
loss: {type: BCEWithLogitsLoss}
optimizer: {type: Adam}
trainer: {monitor: val/loss, name: tiny}
"""


@pytest.fixture
def table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3 + 0.1 * rng.normal(size=400)
    rows = [",".join(f"{v:.6f}" for v in (*row, t)) for row, t in zip(x, y, strict=True)]
    (tmp_path / "table.csv").write_text("a,b,c,y\n" + "\n".join(rows) + "\n")


def test_a_run_measures_what_its_config_asks(train: Any) -> None:
    f1 = "{type: F1}, {type: F1, average: none}"
    done: Done = train(
        f"metrics=[{f1}, {{type: AUROC}}, {{type: TopKAccuracy, k: 3}}]",
        "trainer.monitor=val/f1/7",
        "trainer.epochs=3",
    )
    names = [*("loss", "accuracy", "f1_macro"), *(f"f1/{i}" for i in range(10))]
    names += ["auroc", "top3_accuracy"]
    assert list(done.result.metrics) == [f"test/{name}" for name in names]
    validations = [entry for entry in done.entries if "val/loss" in entry.metrics]
    assert [list(entry.metrics) for entry in validations] == [[f"val/{n}" for n in names]] * 3
    for entry in validations:
        by_class = [entry.metrics[f"val/f1/{i}"] for i in range(10)]
        assert entry.metrics["val/f1_macro"] == pytest.approx(np.mean(by_class))
        assert entry.metrics["val/top3_accuracy"] > entry.metrics["val/accuracy"]
    best = max(validations, key=lambda entry: entry.metrics["val/f1/7"])
    assert done.result.best_epoch == best.epoch
    assert "val/f1_macro" in done.output
    assert "val/f1/7 " not in done.output  # a line has no room for ten of them


@pytest.mark.usefixtures("table")
def test_numbers_have_their_own(train: Any) -> None:
    done: Done = train(text=TABLE)
    found = done.result.metrics
    assert list(found) == ["test/loss", "test/mae", "test/r2", "test/mse"]
    assert found["test/r2"] > 0.99
    assert 0.07 < found["test/mae"] < found["test/mse"] ** 0.5 < 0.15


@pytest.mark.usefixtures("table")
def test_the_metrics_of_an_experiment(tiny: Any) -> None:
    kinds = [type(metric) for metric in build(tiny(text=TABLE)).metrics]
    assert kinds[:2] == [MeanAbsoluteError, R2Score]
    again = build(tiny("metrics=[{type: R2Score}]", text=TABLE)).metrics
    assert [type(metric) for metric in again] == [MeanAbsoluteError, R2Score]
    assert build(tiny()).metrics == []


def test_names_that_can_be_monitored() -> None:
    metrics = [F1("none"), AUROC()]
    assert monitored(metrics, ["cat", "dog"], classifies=True) == [
        *("train/loss", "train/accuracy", "val/loss", "val/accuracy"),
        *("val/f1/cat", "val/f1/dog", "val/auroc"),
    ]
    assert monitored([R2Score()], classifies=False) == ["train/loss", "val/loss", "val/r2"]


REFUSED = [
    (["metrics=[{type: Acuracy}]"], "metrics has no class `Acuracy`\n.*did you mean `Accuracy`"),
    (["metrics=[{type: F1, avrage: micro}]"], "F1 has no key `avrage`\n.*did you mean `average`"),
    (
        ["metrics=[{type: F1, average: mean}]"],
        "`average` must be `macro`, `micro`, `weighted` or `none`, got text .mean",
    ),
    (["metrics={type: F1}"], "`metrics` must be a list"),
    (["metrics=[F1]"], "item 1 of `metrics` must be a mapping with `type`"),
    (["metrics=[{type: TopKAccuracy, k: 10}]"], "`k` must be below the number of classes, 10, got"),
    (["metrics=[{type: TopKAccuracy, k: 0}]"], "`k` must be at least 1, got 0"),
    (
        ["metrics=[{type: CalibrationError}, {type: CalibrationError, bins: 10}]"],
        "there are two metrics of the name calibration_error",
    ),
    (
        ["metrics=[{type: R2Score}, {type: F1}, {type: MeanSquaredError}]"],
        "(?s)R2Score is no metric of Classification.*there are: AUROC, Accuracy, .*"
        "MeanSquaredError is no metric of Classification",
    ),
    (
        ["trainer.monitor=val/acc"],
        "this config gives no such metric\n.*did you mean `val/accuracy`",
    ),
    (["trainer.monitor=val/f1_macro"], "no such metric\n.*add {type: F1} to `metrics`"),
    (
        ["trainer.monitor=val/recall_weighted"],
        "add {type: Recall, average: weighted} to `metrics`",
    ),
    (["trainer.monitor=val/top3_accuracy"], "add {type: TopKAccuracy, k: 3} to `metrics`"),
    (["trainer.monitor=val/f1/7"], "add {type: F1, average: none} to `metrics`"),
    (["trainer.monitor=val/f1/x", "metrics=[{type: F1, average: none}]"], "no such metric"),
    (["trainer.monitor=train/f1_macro", "metrics=[{type: F1}]"], "did you mean `val/f1_macro`"),
    (["trainer.monitor=something"], "there are: train/loss, train/accuracy, val/loss, val/accur"),
    (["trainer.monitor=test/accuracy"], "`monitor` is test/accuracy, and this config gives no"),
    (
        ["sweep={metric: val/f1_macro}"],
        "`metric` is val/f1_macro, and this config gives no such metric\n.*add {type: F1} to",
    ),
    (["sweep={metric: val/f1/x}", "metrics=[{type: F1, average: none}]"], "`metric` is val/f1/x"),
    (["trainer.monitor=3"], "`monitor` must be text, got 3"),
    (
        ["trainer.monitor=val/f1_macro", "metrics=[{type: F1}]", "data.val_fraction=0"],
        "leaves no validation samples\n.*set `monitor` in `trainer` to train/loss",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_refuses(tiny: Any, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tiny(*overrides))


def test_a_wrong_metric_and_a_wrong_monitor_are_told_at_once(tiny: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny("seed=-1", "trainer.monitor=val/lss")
    assert [problem.message for problem in caught.value.problems] == [
        "`seed` must be at least 0, got -1",
        "`monitor` is val/lss, and this config gives no such metric",
    ]


def test_a_metric_is_refused_at_its_line(tiny: Any) -> None:
    text = f"{AUTO}metrics:\n  - {{type: MeanSquaredError}}\n"
    message = (
        r"tiny\.yaml:8:5: MeanSquaredError is no metric of Reconstruction(.|\n)*none but the loss"
    )
    with pytest.raises(ConfigError, match=message):
        build(tiny(text=text))


@pytest.mark.usefixtures("table")
def test_classes_have_no_place_among_numbers(tiny: Any) -> None:
    message = "F1 is no metric of Regression(.|\n)*: MeanAbsoluteError, MeanSquaredError, R2Score"
    with pytest.raises(ConfigError, match=message):
        build(tiny("metrics=[{type: F1}]", text=TABLE))
    with pytest.raises(
        ConfigError, match="there are: train/loss, val/loss, val/mae, val/r2, val/m"
    ):
        tiny("trainer.monitor=val/accuracy", text=TABLE)


def test_metrics_are_part_of_the_resolved_config(tiny: Any) -> None:
    config = tiny("metrics=[{type: CalibrationError}]")
    assert config.resolved()["metrics"] == [{"type": "CalibrationError", "bins": 15}]
    assert config.flat()["metrics.0.bins"] == "15"
    assert tiny(text=config.to_yaml()) == config
