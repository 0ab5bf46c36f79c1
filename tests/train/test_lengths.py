"""How long a training is, when it validates, and when it stops: steps, epochs, time, patience."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, resume_quietly, run_quietly

from minidl.train import session
from minidl.train.build import build
from minidl.train.callbacks import Callback
from minidl.train.config import Config, ConfigError
from minidl.train.limits import Limits
from minidl.train.plan import describe_plan
from minidl.train.progress import Progress
from minidl.train.reports import plots
from minidl.train.selection import note_if_best, reason_to_stop
from minidl.train.session import Session
from minidl.train.trainer import Trainer
from minidl.train.triggers import Every, seconds_of

pytest_plugins = ["tiny_runs"]

Load = Callable[..., Config]
Train = Callable[..., Done]


def _steps(done: Done, name: str) -> list[int]:
    return [entry.step for entry in done.entries if name in entry.metrics]


def test_a_number_of_steps(train: Train) -> None:
    done = train("~trainer.epochs", "trainer.max_steps=9", "trainer.log_every=4")
    summary = json.loads(done.run.summary.read_text())
    assert (summary["steps"], summary["epochs"]) == (9, 2)
    assert _steps(done, "train/loss") == [4, 6, 8, 9]
    assert _steps(done, "val/loss") == [6, 9]  # the last weights are validated too
    assert _steps(done, "test/loss") == [9]
    assert resume_quietly(done.run.root, "trainer.max_steps=12").result.status == "FINISHED"


def test_the_shorter_of_steps_and_epochs_ends_it(tiny: Load) -> None:
    assert build(tiny("trainer.max_steps=100")).total_steps == 12
    assert build(tiny("trainer.max_steps=7")).total_steps == 7
    assert build(tiny("trainer.accumulate=4")).total_steps == 4
    assert tiny("~trainer.epochs").trainer.epochs == 5
    assert tiny("~trainer.epochs", "trainer.max_steps=3").trainer.epochs is None


def test_a_limit_of_time(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(session.time, "perf_counter", tick)
    done = train("~trainer.epochs", "trainer.max_time='00:01:00'")
    assert done.result.status == "FINISHED"
    assert "stopped after 00:01:00 (trainer.max_time), in step" in done.output
    summary = json.loads(done.run.summary.read_text())
    assert 0 < summary["steps"] < 60
    assert summary["stopped"].startswith("stopped after 00:01:00")
    assert summary["metrics"]
    # The time counts over all attempts: there is none left.
    again = resume_quietly(done.run.root, "trainer.max_time='00:01:01'")
    assert json.loads(again.run.summary.read_text())["steps"] <= summary["steps"] + 2


@pytest.mark.parametrize("wrong", ["90", "'1:2'", "'1h'", "-1"])
def test_a_time_that_is_none(tiny: Load, wrong: str) -> None:
    with pytest.raises(ConfigError, match="max_time"):
        tiny(f"trainer.max_time={wrong}")
    assert seconds_of("1:02:03:04") == 93784.0


def test_a_schedule_wants_to_know_the_length(tiny: Load) -> None:
    config = tiny(
        "~trainer.epochs", "trainer.max_time='00:10:00'", "schedule.type=CosineAnnealingLR"
    )
    with pytest.raises(ConfigError, match="wants to know how many steps") as caught:
        build(config)
    assert "give `epochs` or `max_steps`" in str(caught.value)


@pytest.mark.parametrize(
    ("often", "steps"),
    [("[5, steps]", [5, 10, 12]), ("[2, epochs]", [12]), ("[1, epochs]", [6, 12])],
)
def test_when_it_validates(train: Train, often: str, steps: list[int]) -> None:
    assert _steps(train(f"trainer.validate_every={often}"), "val/loss") == steps


@pytest.mark.parametrize("wrong", ["[0, steps]", "[1, minutes]", "5", "[1]"])
def test_a_trigger_that_is_none(tiny: Load, wrong: str) -> None:
    with pytest.raises(ConfigError, match="validate_every"):
        tiny(f"trainer.validate_every={wrong}")


def test_triggers_in_python() -> None:
    with pytest.raises(ValueError, match="'steps' or 'epochs'"):
        Every(1, "minutes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        Every(0, "steps")
    assert not Every(1, "steps").due(Progress())


# ---- the best, and patience ----------------------------------------------------------------------


def test_what_is_no_number_is_never_the_best() -> None:
    progress = Progress(epoch=1, step=5)
    assert not note_if_best(progress, "val/loss", float("nan"))
    assert note_if_best(progress, "val/loss", 0.5)
    assert not note_if_best(progress, "val/loss", float("-inf"))
    assert note_if_best(progress, "val/loss", 9.0, keep=True)
    assert (progress.best, progress.best_epoch, progress.best_step) == (9.0, 1, 5)


@pytest.mark.parametrize(
    ("monitor", "values", "waited"),
    [
        ("val/loss", [1.0, 0.95, 0.91, 0.85], [0, 1, 2, 0]),
        ("val/accuracy", [0.5, 0.55, 0.59, 0.65], [0, 1, 2, 0]),
        ("val/accuracy", [0.5, float("nan"), 0.7], [0, 1, 0]),
    ],
)
def test_patience_with_a_margin(
    tiny: Load, monitor: str, values: list[float], waited: list[int]
) -> None:
    settings = tiny(
        f"trainer.monitor={monitor}", "trainer.early_stop={patience: 3, min_delta: 0.1}"
    ).trainer
    progress = Progress()
    found = []
    for value in values:
        assert reason_to_stop(progress, settings, value) is None
        found.append(progress.waited)
    assert found == waited


# ---- trying out ----------------------------------------------------------------------------------


def test_a_few_batches_always_the_same(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plots_available", lambda: False)
    trainer = Trainer(tiny("trainer.epochs=3"), limits=Limits(2, overfit=True))
    data = trainer.experiment.data
    assert data.val is not None
    seen = []
    for epoch in (1, 2):
        data.train.set_epoch(epoch)
        seen.append([targets.tolist() for _, targets in data.train])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2
    assert [t for _, b in data.val for t in b.tolist()] == [t for batch in seen[0] for t in batch]
    assert len(data.test.dataset) == 100


def test_three_batches_of_each_part(tiny: Load) -> None:
    data = build(tiny(), limits=Limits(3)).data
    assert data.val is not None
    assert [len(part.dataset) for part in (data.train, data.val, data.test)] == [150, 150, 150]
    assert data.train.shuffle


def test_the_plan_creates_nothing(tiny: Load, tmp_path: Path) -> None:
    config = tiny(
        "callbacks=[{type: GradientNorm}]",
        "schedule={type: CosineAnnealingLR}",
        "tracking={experiment: e}",
    )
    text = describe_plan(config)
    assert "12,730 parameters" in text
    assert "12 steps in 2 epochs, of 50 samples" in text
    assert "0.01 at first" in text
    assert "validated every epoch" in text
    assert "runs/tiny" in text
    assert "GradientNorm" in text
    assert "e at sqlite:///mlflow.db" in text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


# ---- callbacks -----------------------------------------------------------------------------------


class Told(Callback):
    """Notes what it is told, and counts steps over interruptions."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.steps = 0

    def on_train_begin(self, session: Session) -> None:
        self.events.append("train begins")

    def on_epoch_begin(self, session: Session) -> None:
        self.events.append(f"epoch {session.progress.epoch} begins")

    def on_backward_end(self, session: Session) -> None:
        parameter = next(session.experiment.model.parameters())
        assert parameter.grad is not None

    def on_step_end(self, session: Session, outcomes: Any) -> None:
        assert len(outcomes) == 1
        self.steps += 1
        if self.steps == 9:
            session.stop("nine are enough")

    def on_validation_end(self, session: Session, metrics: Mapping[str, float]) -> None:
        self.events.append(f"validated: {sorted(metrics)}")
        session.log({"mine/double": 2 * metrics["val/loss"]})

    def on_epoch_end(self, session: Session, metrics: Mapping[str, float]) -> None:
        self.events.append(f"epoch {session.progress.epoch} ends")

    def on_checkpoint(self, session: Session, path: Path) -> None:
        self.events.append(path.name)

    def on_train_end(self, session: Session) -> None:
        self.events.append("train ends")

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


def test_what_a_callback_is_told(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plots_available", lambda: False)
    told = Told()
    done = run_quietly(tiny(), callbacks=[told])
    found = "validated: ['train/accuracy', 'train/loss', 'val/accuracy', 'val/loss']"
    assert told.events == [
        *("train begins", "epoch 1 begins", found, "epoch 1 ends", "last.json"),
        *("epoch 2 begins", found, "last.json", "train ends"),
    ]
    assert "nine are enough" in done.output
    doubled = [e.metrics["mine/double"] for e in done.entries if "mine/double" in e.metrics]
    losses = [e.metrics["val/loss"] for e in done.entries if "val/loss" in e.metrics]
    assert doubled == [2 * loss for loss in losses]
    again = Told()
    trainer = Trainer.resume(done.run.root, ["trainer.epochs=2"], callbacks=[again])
    trainer.run()
    assert again.steps == 12  # nine, and the three that were left of the epoch


def test_callbacks_of_the_config(train: Train) -> None:
    done = train(
        "callbacks=[{type: GradientNorm, every: 4}, {type: WeightNorm}, "
        "{type: Snapshot, every: [5, steps]}]"
    )
    assert _steps(done, "gradient/norm") == [4, 8, 12]
    assert _steps(done, "weight/1.weight") == [6, 12]
    assert all(entry.metrics.get("gradient/norm", 1.0) > 0 for entry in done.entries)
    names = sorted(path.name for path in (done.run.root / "snapshots").iterdir())
    assert names == ["step-00000005.safetensors", "step-00000010.safetensors"]


def test_a_callback_that_does_not_exist(tiny: Load) -> None:
    with pytest.raises(ConfigError, match="Snapshot"):
        tiny("callbacks=[{type: Snapshott}]")
    with pytest.raises(ConfigError, match="every"):
        tiny("callbacks=[{type: GradientNorm, every: 0}]")
