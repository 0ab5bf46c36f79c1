"""A disk that is full, or that may not be written: the training goes on, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import TINY, environment, run_in
from tiny_runs import Done, resume_quietly

from minidl.train import checkpoint, run_files
from minidl.train.checkpoint import CheckpointError, checkpoints_in
from minidl.train.inference import Predictor

pytest_plugins = ["tiny_runs"]

Train = Callable[..., Done]


def test_checkpoints_that_cannot_be_written(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train("trainer.name=whole")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_files, "save_checkpoint", full)
        done = train()
    assert done.result.status == "FINISHED"
    assert done.output.count("cannot write to runs/tiny (No space left on device)") == 1
    assert not checkpoints_in(done.run.checkpoints)
    assert done.run.weights.read_bytes() == whole.run.weights.read_bytes()
    assert done.run.journal.read_bytes() == whole.run.journal.read_bytes()


def test_the_best_model_waits_for_room(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train("trainer.name=whole")
    real, failures = checkpoint.write_atomically, []

    def full_at_first(path: Path, content: bytes, **kwargs: Any) -> None:
        if path.name == "model.safetensors" and len(failures) < 3:
            failures.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, **kwargs)

    monkeypatch.setattr(run_files, "write_atomically", full_at_first)
    done = train()
    assert len(failures) == 3
    assert done.output.count("cannot write to runs/tiny") == 1
    assert done.run.weights.read_bytes() == whole.run.weights.read_bytes()


def test_a_best_model_that_can_never_be_written_fails_the_run(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    whole = train("trainer.name=whole")
    with monkeypatch.context() as patch:
        patch.setattr(run_files, "write_atomically", full)
        with pytest.raises(OSError, match="No space left"):
            train()
    assert checkpoints_in(Path("runs/tiny/checkpoints"))
    assert not Path("runs/tiny/model/model.safetensors").exists()
    assert json.loads(Path("runs/tiny/summary.json").read_text())["status"] == "FAILED"
    # What can be made again is: longer, with room, it ends as it would have.
    longer = resume_quietly(Path("runs/tiny"), "trainer.epochs=3")
    assert (
        longer.result.metrics == resume_quietly(whole.run.root, "trainer.epochs=3").result.metrics
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


LOUD = """
import sys
from pathlib import Path
from minidl.train.callbacks import Callback
from minidl.train.config import load_config
from minidl.train.trainer import Trainer

class Filler(Callback):
    # Fills the disk in the third step of the second epoch, and empties it in the fourth epoch.
    def on_step_end(self, session, outcomes):
        filler = Path("disk/filler")
        if session.progress.step == 9:
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
        if session.progress.step == 21:
            filler.unlink()

changes = ["trainer.epochs=6", "trainer.run_root=disk", "trainer.log_every=1"]
config = load_config("tiny.yaml", changes)
sys.exit(Trainer(config, callbacks=[Filler()] if sys.argv[1] == "fill" else []).run().exit_status)
"""


def test_a_real_disk_that_is_full_for_a_while(small_disk: Path) -> None:
    folder = small_disk.parent
    (folder / "tiny.yaml").write_text(TINY)

    def run(how: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LOUD, how],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("fill")
    assert said.count("cannot write to disk/tiny") == 1
    found = {
        p: (small_disk / "tiny" / p).read_bytes()
        for p in ("metrics.jsonl", "model/model.safetensors")
    }
    shutil.rmtree(small_disk / "tiny")
    assert "cannot write" not in run("leave")
    for name, content in found.items():
        assert (small_disk / "tiny" / name).read_bytes() == content, name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "runs").mkdir(mode=0o500)
    done = run_in(tmp_path, "train", "tiny.yaml")
    assert done.returncode == 2
    assert "the run directory cannot be made" in done.stderr


def test_a_file_system_that_becomes_read_only(small_disk: Path) -> None:
    folder = small_disk.parent
    (folder / "tiny.yaml").write_text(TINY)
    program = LOUD.replace("class Filler(Callback):", "import subprocess\nclass Filler(Callback):")
    program = program.replace(
        '        filler = Path("disk/filler")\n',
        "        def remount(how):\n"
        "            subprocess.run(['mount', '-o', f'remount,{how}', 'disk'], check=False)\n"
        "        if session.progress.step == 9: remount('ro')\n"
        "        if session.progress.step == 21: remount('rw')\n"
        "        return\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "fill"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (small_disk / "tiny/metrics.jsonl").read_text().count("train/loss") == 36
    Predictor.load(small_disk / "tiny/model")


def test_a_run_whose_facts_are_lost(train: Train) -> None:
    done = train()
    done.run.about.write_text("{")
    with pytest.raises(CheckpointError, match=r"run.json: cannot be read"):
        resume_quietly(done.run.root, "trainer.epochs=3")
