"""A run that was interrupted is taken up, and ends as if it had not been; or it says why not."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, resume_quietly

from minidl.train import environment, session
from minidl.train.checkpoint import CheckpointError, checkpoints_in
from minidl.train.config import Config
from minidl.train.limits import Limits
from minidl.train.run_directory import RunInUseError
from minidl.train.session import Session
from minidl.train.trainer import Trainer

pytest_plugins = ["tiny_runs"]

Train = Callable[..., Done]
Load = Callable[..., Config]

#: Everything with a state of its own.
STATEFUL = (
    "trainer.epochs=3",
    "trainer.accumulate=2",
    "trainer.ema={decay: 0.9}",
    "trainer.validate_every=[2, steps]",
    "trainer.checkpoint_every=[2, steps]",
    "trainer.early_stop={patience: 100}",
    "data.batch_size=30",
    "data.augment=[{type: RandomShift, pixels: 2}]",
)
SCHEDULES = {
    "cosine": "schedule={type: CosineAnnealingLR, warmup_steps: 3}",
    # The accuracy rises, and so is never lower: the rate falls all the time.
    "plateau": "schedule={type: ReduceLROnPlateau, mode: min, patience: 0, factor: 0.9}",
}


def _signal_in(monkeypatch: pytest.MonkeyPatch, method: str, call: int) -> None:
    """Send SIGTERM in the middle of the n-th call of a session's method."""
    real, calls = getattr(Session, method), []

    def signalled(self: Session, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Session, method, signalled)


def assert_same(resumed: Path, whole: Path) -> None:
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    digests = [
        json.loads((run / "checkpoints/last.json").read_text())["sha256"]
        for run in (resumed, whole)
    ]
    assert digests[0] == digests[1]
    ends = [json.loads((run / "summary.json").read_text()) for run in (resumed, whole)]
    for key in ("status", "epochs", "steps", "best_epoch", "best_step", "metrics"):
        assert ends[0][key] == ends[1][key], key


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("method", "call"),
    [("step", 1), ("step", 7), ("evaluate", 2), ("end_epoch", 1), ("test", 1), ("checkpoint", 3)],
    ids=lambda value: str(value),
)
def test_interrupted_anywhere(
    train: Train, monkeypatch: pytest.MonkeyPatch, method: str, call: int, schedule: str
) -> None:
    whole = train(*STATEFUL, SCHEDULES[schedule], "trainer.name=whole")
    assert whole.result.status == "FINISHED"
    with monkeypatch.context() as patch:
        _signal_in(patch, method, call)
        done = train(*STATEFUL, SCHEDULES[schedule])
    assert (done.result.status, done.result.exit_status) == ("KILLED", 75)
    assert "go on with it by `minidl resume runs/tiny`" in done.output
    resumed = resume_quietly(done.run.root)
    assert resumed.result.status == "FINISHED"
    assert re.search(r"going on in epoch \d, after step \d+", resumed.output)
    assert_same(done.run.root, whole.run.root)


def test_the_schedules_are_at_work(train: Train) -> None:
    for name, schedule in SCHEDULES.items():
        done = train(*STATEFUL, schedule, f"trainer.name={name}")
        assert len({e.metrics["lr"] for e in done.entries if "lr" in e.metrics}) > 2


def test_killed_before_the_first_checkpoint(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(*STATEFUL, "trainer.name=whole")

    class PowerCut(BaseException):
        pass

    def cut(self: Session) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Session, "validate", cut)
        with pytest.raises(PowerCut):
            train(*STATEFUL)
    resumed = resume_quietly(Path("runs/tiny"))
    assert "interrupted before its first checkpoint: from the beginning" in resumed.output
    assert_same(resumed.run.root, whole.run.root)


# ---- damage -------------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _arrays(manifest: Path) -> Path:
    name: str = json.loads(manifest.read_text())["file"]
    return manifest.parent / name


DAMAGE: dict[str, Callable[[Path], None]] = {
    "arrays flipped": lambda manifest: _flip(_arrays(manifest)),
    "arrays cut": lambda manifest: _cut(_arrays(manifest)),
    "arrays gone": lambda manifest: _arrays(manifest).unlink(),
    "manifest flipped": _flip,
    "manifest cut": _cut,
    "manifest empty": lambda manifest: manifest.write_bytes(b""),
    "manifest gone": Path.unlink,
}


@pytest.fixture
def stopped(train: Train, monkeypatch: pytest.MonkeyPatch) -> Done:
    """A run that ended with an error after its third checkpoint, the newest being `last`."""
    real = Session.checkpoint

    def out_of_memory(self: Session, name: str = "last") -> None:
        real(self, name)
        if self.progress.step == 6:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Session, "checkpoint", out_of_memory)
        with pytest.raises(MemoryError):
            train(*STATEFUL)
    return train(*STATEFUL, "trainer.name=whole")


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_newest_checkpoint_that_is_whole_is_used(stopped: Done, damage: str) -> None:
    run = Path("runs/tiny")
    assert [p.name for p in checkpoints_in(run / "checkpoints")] == ["last.json", "previous.json"]
    DAMAGE[damage](run / "checkpoints/last.json")
    resumed = resume_quietly(run)
    if damage != "manifest gone":
        assert "damaged" in resumed.output or "there is no such file" in resumed.output
        assert "going on from the newest checkpoint that is whole" in resumed.output
    assert "after step 4" in resumed.output
    assert_same(run, stopped.run.root)


def test_no_checkpoint_is_whole(stopped: Done) -> None:
    run = Path("runs/tiny")
    for path in (run / "checkpoints").glob("*.json"):
        _flip(_arrays(path))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError) as caught:
        resume_quietly(run)
    message = str(caught.value)
    assert "runs/tiny: no checkpoint is whole" in message
    assert "last.json" in message or "state-" in message
    assert "minidl train runs/tiny/config.yaml" in message
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_journal_shorter_than_the_checkpoint_counts_on(stopped: Done) -> None:
    run = Path("runs/tiny")
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    position = json.loads((run / "checkpoints/last.json").read_text())["progress"]["journal"]
    (run / "metrics.jsonl").write_bytes(b"".join(lines[: position - 1]))
    resumed = resume_quietly(run)
    assert f"it counts on {position} journal entries, and there are {position - 1}" in (
        resumed.output
    )
    assert_same(run, stopped.run.root)


# ---- what may be changed, and what not -----------------------------------------------------------


def test_a_finished_run_is_made_longer(train: Train) -> None:
    whole = train("trainer.epochs=4", "trainer.name=whole")
    short = train("trainer.epochs=2")
    longer = resume_quietly(short.run.root, "trainer.epochs=4")
    assert_same(longer.run.root, whole.run.root)
    assert "trainer.epochs=4" in longer.run.overrides.read_text()
    assert "bit for bit" not in longer.output
    assert resume_quietly(longer.run.root).result.metrics == longer.result.metrics


@pytest.mark.parametrize("override", ["optimizer.lr=0.5", "seed=1", "~trainer.clip_norm"])
def test_a_change_that_makes_it_another_training_is_refused(train: Train, override: str) -> None:
    done = train()
    before = done.run.config.read_bytes()
    with pytest.raises(ValueError, match="a run that is resumed keeps its config") as caught:
        Trainer.resume(done.run.root, [override])
    assert override in str(caught.value)
    assert "trainer.epochs" in str(caught.value)
    assert done.run.config.read_bytes() == before


def test_a_directory_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a run directory \(there is no config.yaml\)"):
        Trainer.resume(tmp_path)


def test_a_run_that_is_being_trained(train: Train) -> None:
    done = train()
    summary = done.run.summary.read_bytes()
    with done.run.lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert done.run.in_use()
        with pytest.raises(RunInUseError, match="another process is training this run"):
            resume_quietly(done.run.root, "trainer.epochs=5")
    assert not done.run.in_use()
    assert done.run.summary.read_bytes() == summary


def test_another_machine_is_told_of(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    done = train()
    before = environment.describe()
    monkeypatch.setattr(environment, "describe", lambda: before | {"numpy.version": "9.9"})
    resumed = resume_quietly(done.run.root, "trainer.epochs=3")
    assert f"numpy.version was {before['numpy.version']}, and is 9.9" in resumed.output


def test_a_machine_that_does_not_repeat_itself(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _signal_in(patch, "step", 8)
        done = train("trainer.log_every=1")
    entries = done.run.journal.read_text().splitlines()
    real = session.Average.metrics
    monkeypatch.setattr(
        session.Average,
        "metrics",
        lambda self, part: {k: v + 1e-9 for k, v in real(self, part).items()},
    )
    (done.run.checkpoints / "interrupted.json").unlink()  # so that steps 7 and 8 come again
    resumed = resume_quietly(done.run.root)
    assert "does not repeat the interrupted training bit for bit" in resumed.output
    assert resumed.run.journal.read_text().splitlines()[:7] == entries[:7]
    steps = [entry.step for entry in resumed.entries if "train/loss" in entry.metrics]
    assert steps == list(range(1, 13))


def test_limits_stay_with_the_run(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.train.reports import plots

    monkeypatch.setattr(plots, "plots_available", lambda: False)
    Trainer(tiny("trainer.epochs=1"), limits=Limits(2, overfit=True)).run()
    trainer = Trainer.resume(Path("runs/tiny"), ["trainer.epochs=2"])
    assert trainer.limits == Limits(2, overfit=True)
    assert len(trainer.experiment.data.train.dataset) == 100


# ---- other tasks --------------------------------------------------------------------------------

TASKS = {
    "adversarial": (
        "model={type: DCGANSmall, latent: 8, width: 4}",
        "task={type: Adversarial}",
        "optimizer={type: Adam, lr: 5e-4}",
    ),
    "reconstruction": (
        "model={type: VAE, latent: 4}",
        "task={type: Reconstruction}",
        "loss={type: BCEWithLogitsLoss}",
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_that_draws_goes_on_with_the_same_draws(
    train: Train, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    short = ("trainer.max_steps=4", "trainer.monitor=train/loss", "data.val_fraction=0")
    changes = (*TASKS[task], *short)
    whole = train(*changes, "trainer.name=whole")
    with monkeypatch.context() as patch:
        _signal_in(patch, "step", 2)
        done = train(*changes)
    assert done.result.status == "KILLED"
    assert_same(resume_quietly(done.run.root).run.root, whole.run.root)
