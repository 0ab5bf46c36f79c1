"""The training loop: what it records, keeps, stops at and repeats."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import TINY, Done, run_quietly

from minidl.optim import Optimizer
from minidl.train import session, trainer
from minidl.train.build import build
from minidl.train.checkpoint import checkpoints_in, load_checkpoint, read_arrays
from minidl.train.config import Config, ConfigError
from minidl.train.inference import Predictor
from minidl.train.journal import Entry
from minidl.train.metrics import Evaluation
from minidl.train.metrics import whole_set as metrics
from minidl.train.reports import plots
from minidl.train.run_directory import RunDirectory
from minidl.train.session import Session, TrainingError
from minidl.train.trainer import Trainer

pytest_plugins = ["tiny_runs"]

Load = Callable[..., Config]
Train = Callable[..., Done]


def _summary(run: RunDirectory) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    return summary


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# ---- a whole run --------------------------------------------------------------------------------


def test_the_files_and_the_summary_of_a_run(train: Train) -> None:
    done = train("trainer.log_every=4")
    files = _files(done.run.root)
    states = {name for name in files if "state-" in name}
    assert len(states) == 2  # of the last two epochs
    assert files - states == {
        ".lock",
        "run.json",
        "config.source.yaml",
        "config.yaml",
        "confusion.json",
        "overrides.txt",
        "description.json",
        "metrics.jsonl",
        "clock.jsonl",
        "checkpoints/last.json",
        "checkpoints/previous.json",
        "model/config.yaml",
        "model/example.npy",
        "model/model.safetensors",
        "summary.json",
    }
    assert done.result.status == "FINISHED"
    assert done.result.exit_status == 0
    assert done.result.tracking is None
    assert done.result.directory == Path("runs/tiny")
    summary = _summary(done.run)
    assert summary.pop("seconds") > 0
    assert summary == {
        "status": "FINISHED",
        "epochs": 2,
        "steps": 12,
        "best_epoch": done.result.best_epoch,
        "best_step": 6 * done.result.best_epoch,
        "stopped": "",
        "metrics": done.result.metrics,
        "mlflow_run_id": None,
    }
    assert done.run.overrides.read_text() == "trainer.log_every=4\n"


def test_the_journal_of_a_run(train: Train) -> None:
    done = train()
    points = [(entry.epoch, entry.step, set(entry.metrics)) for entry in done.entries]
    train_names = {"train/loss", "train/accuracy", "lr", "throughput/samples_per_s"}
    val_names = {"val/loss", "val/accuracy"}
    assert points == [
        (1, 2, train_names),
        (1, 4, train_names),
        (1, 6, train_names),
        (1, 6, val_names),
        (2, 8, train_names),
        (2, 10, train_names),
        (2, 12, train_names),
        (2, 12, val_names),
        (2, 12, {"test/loss", "test/accuracy"}),
    ]
    times = [entry.time for entry in done.entries]
    assert times == sorted(times)
    assert all(math.isfinite(v) for entry in done.entries for v in entry.metrics.values())
    assert done.entries[-1].metrics == done.result.metrics
    losses = [e.metrics["train/loss"] for e in done.entries if "train/loss" in e.metrics]
    assert losses[-1] < losses[0]
    assert done.result.metrics["test/accuracy"] > 0.5


def test_what_is_said(train: Train) -> None:
    done = train()
    lines = done.output.splitlines()
    assert lines[0] == (
        "MNISTSample: 300 training, 5,700 validation, 1,000 test samples; 12,730 parameters; "
        "run directory runs/tiny"
    )
    assert lines[1].startswith("epoch 1/2  train/loss ")
    assert "val/accuracy" in lines[1]
    assert lines[2].startswith("epoch 2/2  ")
    assert "no plots: matplotlib is wanted (pip install 'minidl[plot]')" in lines
    table = lines[lines.index("run FINISHED") + 1 :]
    assert [line.split("  ")[1] for line in table] == [
        "test/loss",
        "test/accuracy",
        "best epoch",
        "time",
        "samples/s",
        "run directory",
    ]
    assert "\x1b" not in done.output


def test_without_validation_samples(train: Train) -> None:
    done = train("data.val_fraction=0", "data.batch_size=1000", "trainer.monitor=train/loss")
    assert not any("val/loss" in entry.metrics for entry in done.entries)
    assert "val/" not in done.output
    assert "0 validation" in done.output
    assert done.result.best_epoch == 2
    assert "(by train/loss)" in done.output


def test_plots_are_drawn(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    marked = []
    draw = plots.plot_curves

    def spy(entries: Any, path: Any, *, monitor: str) -> None:
        marked.append(monitor)
        draw(entries, path, monitor=monitor)

    monkeypatch.setattr(plots, "plot_curves", spy)
    done = run_quietly(tiny("trainer.monitor=val/loss", "trainer.epochs=1"))
    for name in ("curves.png", "confusion.png"):
        assert (done.run.plots / name).read_bytes().startswith(b"\x89PNG")
    confusion = json.loads(done.run.confusion.read_text())
    assert confusion["classes"] == [str(digit) for digit in range(10)]
    assert np.sum(confusion["matrix"]) == 1000  # the test samples
    assert marked == ["val/loss"]
    assert "no plots" not in done.output


# ---- the steps ----------------------------------------------------------------------------------


def test_a_schedule_goes_from_the_warm_up_to_its_end(train: Train) -> None:
    done = train(
        "schedule={type: CosineAnnealingLR, warmup_steps: 3, min_lr: 1e-4}", "trainer.log_every=1"
    )
    rates = [entry.metrics["lr"] for entry in done.entries if "lr" in entry.metrics]
    assert len(rates) == 12
    # The rate noted is that of the step to come.
    assert rates[:3] == pytest.approx([0.5e-2, 0.75e-2, 1e-2])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def test_gradients_are_clipped(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    step = Optimizer.step

    def spy(self: Optimizer) -> None:
        params = self.param_groups[0]["params"]
        grads = [p.grad.detach().numpy() for p in params if p.grad is not None]
        norms.append(math.sqrt(sum(float((g**2).sum()) for g in grads)))
        step(self)

    monkeypatch.setattr(Optimizer, "step", spy)
    train("trainer.clip_norm=0.05", "trainer.epochs=1")
    assert len(norms) == 6
    assert max(norms) == pytest.approx(0.05, rel=1e-3)
    norms.clear()
    train("trainer.epochs=1", "trainer.name=free")
    assert max(norms) > 0.5


@pytest.mark.parametrize(
    "loss",
    [
        "{type: CrossEntropyLoss, label_smoothing: 0.2}",
        "{type: CrossEntropyLoss, weight: [1, 1, 1, 1, 1, 1, 1, 1, 1, 5]}",
        "{type: MSELoss}",
    ],
)
def test_other_losses_learn_too(train: Train, loss: str) -> None:
    done = train(f"loss={loss}", "trainer.epochs=10", "optimizer.lr=4e-3", "~model.layers.3")
    assert done.result.metrics["test/accuracy"] > 0.5  # by chance: 0.1


def test_label_smoothing_raises_the_loss_of_a_good_model(train: Train) -> None:
    plain = train("trainer.name=plain").result.metrics
    smooth = train("trainer.name=smooth", "loss.label_smoothing=0.5").result.metrics
    assert smooth["test/loss"] > plain["test/loss"]


def test_a_sum_of_losses_is_recorded_as_their_mean(train: Train) -> None:
    # AdamW's steps do not depend on the gradient's scale, so both trainings are nearly the same.
    mean = train("trainer.name=mean", "optimizer.eps=1e-30")
    total = train("trainer.name=sum", "optimizer.eps=1e-30", "loss.reduction=sum")
    for a, b in zip(mean.entries, total.entries, strict=True):
        for name in a.metrics.keys() & {"train/loss", "val/loss", "test/loss"}:
            assert b.metrics[name] == pytest.approx(a.metrics[name], rel=0.05)


def test_momentum_and_other_optimizers(train: Train) -> None:
    done = train("optimizer={type: SGD, lr: 0.1, momentum: 0.9}", "trainer.epochs=3")
    assert done.result.metrics["test/accuracy"] > 0.6


@pytest.mark.parametrize("lr", ["1e30", "1e38"])
def test_a_loss_that_is_no_number_ends_the_run(train: Train, lr: str) -> None:
    with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
        train(f"optimizer={{type: SGD, lr: {lr}}}")
    message = str(caught.value)
    assert "the loss became" in message
    assert "step 2 (epoch 1)" in message
    assert "a smaller optimizer.lr (now 1e+" in message
    assert "clip_norm" in message
    assert "There is no checkpoint yet" in message
    summary = _summary(RunDirectory(Path("runs/tiny")))
    assert summary["status"] == "FAILED"
    assert summary["steps"] == 1
    assert summary["metrics"] == {}


def test_the_last_good_checkpoint_is_named(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Session.step

    def poisoned(self: Session, batches: Any) -> Any:
        if self.progress.step == 8:
            next(self.experiment.model.parameters()).value[...] = np.nan
        return step(self, batches)

    monkeypatch.setattr(Session, "step", poisoned)
    with pytest.raises(TrainingError, match="loss became nan at step 9") as caught:
        train()
    assert str(caught.value).endswith("The last checkpoint is runs/tiny/checkpoints/last.json")
    assert json.loads(Path("runs/tiny/checkpoints/last.json").read_text())["progress"]["step"] == 6


def test_a_model_that_blows_up_in_the_last_step_is_not_kept(train: Train) -> None:
    # One step an epoch: its loss is that of the first weights, and only validation sees the new.
    with pytest.raises(TrainingError, match="validation loss became"), np.errstate(all="ignore"):
        train(
            "optimizer={type: SGD, lr: 1e38}",
            "data.batch_size=300",
            "trainer.epochs=1",
            "trainer.monitor=val/loss",
        )
    run = RunDirectory(Path("runs/tiny"))
    assert _summary(run)["status"] == "FAILED"
    assert not run.weights.exists()


# ---- the best model -----------------------------------------------------------------------------


def _pretend(monkeypatch: pytest.MonkeyPatch, name: str, values: list[float]) -> list[bytes]:
    """Let validation find these values, epoch by epoch; return the weights that were validated."""
    weights = []
    real = metrics.evaluate

    def evaluate(experiment: Any, *args: Any, part: str, **kwargs: Any) -> Evaluation:
        model = experiment.model
        first = model.state_dict()["1.weight"].numpy().tobytes()
        if part == "test":
            weights.append(first)
            return real(experiment, *args, part=part, **kwargs)
        found = {"val/loss": 1.0, "val/accuracy": 0.5, f"val/{name}": values[len(weights)]}
        weights.append(first)
        return Evaluation(found, np.zeros((10, 10), np.int64))

    monkeypatch.setattr(session, "evaluate", evaluate)
    return weights


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("loss", [0.5, 0.2, 0.3, 0.2], 2),
        ("accuracy", [0.5, 0.2, 0.7, 0.7], 3),
        ("loss", [0.1, 0.2, 0.3, 0.4], 1),
        ("accuracy", [0.1, 0.2, 0.3, 0.4], 4),
    ],
)
def test_the_best_model_is_kept_and_tested(
    train: Train, monkeypatch: pytest.MonkeyPatch, name: str, values: list[float], best: int
) -> None:
    weights = _pretend(monkeypatch, name, values)
    done = train(f"trainer.monitor=val/{name}", "trainer.epochs=4")
    assert done.result.best_epoch == best
    assert _summary(done.run)["best_epoch"] == best
    kept, _ = read_arrays(done.run.weights)
    assert kept["1.weight"].tobytes() == weights[best - 1]
    assert weights[4] == weights[best - 1]  # the one that was tested
    assert len(set(weights[:4])) == 4


def test_the_checkpoint_holds_the_last_weights_not_the_best(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = _pretend(monkeypatch, "accuracy", [0.9, 0.1])
    done = train()
    manifest = json.loads((done.run.checkpoints / "last.json").read_text())
    arrays, _ = read_arrays(done.run.checkpoints / manifest["file"])
    assert arrays["model.1.weight"].tobytes() == weights[1] != weights[0]
    wanted = {"epoch": 2, "step": 12, "best": 0.9, "best_epoch": 1, "best_step": 6}
    assert {name: manifest["progress"][name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "values", "patience", "epochs"),
    [
        ("accuracy", [0.1, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9, 0.9], 2, 4),
        ("accuracy", [0.1, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9, 0.9], 3, 8),
        ("loss", [0.5, 0.6, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 1, 2),
        ("loss", [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 1, 8),
    ],
)
def test_early_stop(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    values: list[float],
    patience: int,
    epochs: int,
) -> None:
    _pretend(monkeypatch, name, values)
    done = train(
        f"trainer.monitor=val/{name}",
        "trainer.epochs=8",
        f"trainer.early_stop.patience={patience}",
        "data.batch_size=300",
    )
    assert _summary(done.run)["epochs"] == epochs
    assert done.result.status == "FINISHED"
    assert "test/accuracy" in done.result.metrics
    assert ("early stop" in done.output) == (epochs < 8 or patience == 3)


# ---- the same again -----------------------------------------------------------------------------


def _measured(entries: list[Entry]) -> list[Any]:
    return [
        (e.epoch, e.step, {k: v for k, v in e.metrics.items() if k != "throughput/samples_per_s"})
        for e in entries
    ]


def test_the_same_config_twice_gives_the_same_bytes(train: Train) -> None:
    first, second = train("trainer.name=a"), train("trainer.name=b")
    assert first.run.weights.read_bytes() == second.run.weights.read_bytes()
    assert _measured(first.entries) == _measured(second.entries)
    assert first.result.metrics == second.result.metrics
    other = train("trainer.name=c", "seed=8")
    assert first.run.weights.read_bytes() != other.run.weights.read_bytes()
    assert _measured(first.entries) != _measured(other.entries)


def test_what_is_logged_changes_nothing(train: Train) -> None:
    often = train("trainer.name=a", "trainer.log_every=1")
    seldom = train("trainer.name=b", "trainer.log_every=100")
    arrays = [read_arrays(done.run.weights)[0] for done in (often, seldom)]
    for name in arrays[0]:
        assert arrays[0][name].tobytes() == arrays[1][name].tobytes()


# ---- interrupted --------------------------------------------------------------------------------


def _signal_at(monkeypatch: pytest.MonkeyPatch, step: int, *signals: signal.Signals) -> None:
    real = Session.step

    def signalled(self: Session, batches: Any) -> Any:
        result = real(self, batches)
        if self.progress.step == step:
            for signum in signals:
                os.kill(os.getpid(), signum)
        return result

    monkeypatch.setattr(Session, "step", signalled)


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_within_an_epoch(
    train: Train,
    tiny: Load,
    monkeypatch: pytest.MonkeyPatch,
    signum: signal.Signals,
    status: int,
) -> None:
    before = signal.getsignal(signum)
    _signal_at(monkeypatch, 8, signum)
    done = train()
    assert (done.result.status, done.result.exit_status) == ("KILLED", status)
    assert _summary(done.run)["status"] == "KILLED"
    assert _summary(done.run)["steps"] == 8
    assert f"interrupted by {signum.name}: checkpoint in runs/tiny/checkpoints" in done.output
    assert "run KILLED" in done.output
    assert done.entries[-1].step == 8
    experiment = build(tiny())
    progress = load_checkpoint(
        checkpoints_in(done.run.checkpoints)[0],
        model=experiment.model,
        optimizer=experiment.optimizer,
        rng=experiment.rng,
    )
    assert progress["step"] == 8
    Predictor.load(done.run.model)  # the first epoch's
    assert signal.getsignal(signum) is before


def test_a_signal_in_the_first_step(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    _signal_at(monkeypatch, 1, signal.SIGINT)
    done = train()
    assert done.result.status == "KILLED"
    assert done.entries == []
    assert checkpoints_in(done.run.checkpoints)
    assert not done.run.weights.exists()


def test_a_signal_before_the_first_step_ends_what_was_begun(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        trainer, "start_tracking", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)
    )
    done = train()
    assert (done.result.status, done.result.exit_status) == ("KILLED", 130)
    assert _summary(done.run)["steps"] == 0


def test_a_second_signal_stops_at_once(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    _signal_at(monkeypatch, 3, signal.SIGINT, signal.SIGINT)
    done = train()
    assert (done.result.status, done.result.exit_status) == ("KILLED", 130)
    assert "no checkpoint written" in done.output
    assert not done.run.checkpoints.exists()


def test_a_second_signal_while_the_checkpoint_is_written(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    _signal_at(monkeypatch, 3, signal.SIGINT)
    monkeypatch.setattr(
        Session, "checkpoint", lambda self, name="last": os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        train()
    assert _summary(RunDirectory(Path("runs/tiny")))["status"] == "KILLED"


def test_a_signal_while_the_best_model_is_tested(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = _pretend(monkeypatch, "accuracy", [0.9, 0.1])
    real = Session.test

    def signalled(self: Session) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self)

    monkeypatch.setattr(Session, "test", signalled)
    done = train()
    assert (done.result.status, done.result.exit_status) == ("KILLED", 75)
    manifest = json.loads((done.run.checkpoints / "last.json").read_text())
    arrays, _ = read_arrays(done.run.checkpoints / manifest["file"])
    assert arrays["model.1.weight"].tobytes() == weights[1] != weights[0]


# ---- what fails ---------------------------------------------------------------------------------


def test_a_name_that_is_taken(train: Train) -> None:
    train("trainer.epochs=1")
    with pytest.raises(ConfigError, match="exists already"):
        train()


@pytest.fixture
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "mlflow" else find(name, *a)
    )


@pytest.mark.usefixtures("without_mlflow")
def test_tracking_where_mlflow_is_not_installed(tiny: Load, tmp_path: Path) -> None:
    config = tiny(text=TINY + "tracking: {experiment: e}\n")
    with pytest.raises(ConfigError) as caught:
        Trainer(config)
    message = str(caught.value)
    assert message.startswith("tiny.yaml:14:")
    assert "pip install 'minidl[mlflow]'" in message
    assert "remove the `tracking:` section" in message
    assert "`tracking=null`" in message
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    # The way out that the message gives is one.
    Trainer(tiny("tracking=null", text=TINY + "tracking: {experiment: e}\n"))


def test_an_address_that_mlflow_cannot_use(tiny: Load, tmp_path: Path) -> None:
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed (extra mlflow)")
    with pytest.raises(ConfigError, match="plain directory") as caught:
        Trainer(tiny(text=TINY + "tracking: {experiment: e, uri: ./mlruns}\n"))
    assert str(caught.value).startswith("tiny.yaml:14:")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
