"""The directory of a run: what is in it, and what happens where it cannot be made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minidl.train.config import Config, ConfigError, load_config
from minidl.train.run_directory import RunDirectory

pytest_plugins = ["tiny_runs"]
Load = Callable[..., Config]

TRACKED = "tracking={experiment: e, uri: 'sqlite:///x.db'}"


def test_what_is_in_it(tiny: Load) -> None:
    config = tiny("optimizer.lr=3e-3", TRACKED)
    run = RunDirectory.create(config, ["optimizer.lr=3e-3", TRACKED])
    assert run.root == Path("runs/tiny")
    assert sorted(str(p.relative_to(run.root)) for p in run.root.rglob("*")) == [
        "config.source.yaml",
        "config.yaml",
        "model",
        "model/config.yaml",
        "overrides.txt",
        "plots",
        "run.json",
    ]
    assert len(run.uid) == 32
    assert run.source.read_text() == Path("tiny.yaml").read_text()
    assert run.overrides.read_text() == f"optimizer.lr=3e-3\n{TRACKED}\n"
    assert load_config(run.config) == config
    # The model may be handed on: where its run was tracked is nobody's business.
    handed_on = load_config(run.model / "config.yaml")
    assert handed_on.tracking is None
    assert handed_on.resolved() == config.resolved() | {"tracking": None}


def test_without_overrides_there_is_no_file_of_them(tiny: Load) -> None:
    assert not RunDirectory.create(tiny()).overrides.exists()


def test_the_source_of_a_config_in_another_language(tiny: Load) -> None:
    config = tiny()
    text = "# größe: 7, 大きさ\n" + config.source_text
    run = RunDirectory.create(tiny(text=text))
    assert run.source.read_text(encoding="utf-8") == text


def test_a_name_that_is_taken(tiny: Load) -> None:
    first = RunDirectory.create(tiny())
    before = first.config.read_bytes()
    with pytest.raises(ConfigError) as caught:
        RunDirectory.create(tiny("optimizer.lr=0.5"))
    message = str(caught.value)
    assert message.startswith("tiny.yaml:13:")
    assert "runs/tiny exists already" in message
    assert "leave `name` out" in message
    assert first.config.read_bytes() == before


@pytest.mark.parametrize("name", ["~trainer.name", "trainer.name=other"])
def test_a_root_that_is_a_file(tiny: Load, name: str) -> None:
    config = tiny("trainer.run_root=taken", name)
    Path("taken").write_text("a file")
    with pytest.raises(ConfigError) as caught:
        RunDirectory.create(config)
    assert "command line: trainer.run_root" in str(caught.value)
    assert "cannot be made" in str(caught.value)
    assert Path("taken").read_text() == "a file"


def test_a_name_that_no_file_system_takes(tiny: Load) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        RunDirectory.create(tiny(f"trainer.name={'n' * 300}"))


def test_runs_of_one_second(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("~trainer.name")
    monkeypatch.setattr(time, "strftime", lambda form: "20240102-030405")
    names = [RunDirectory.create(config).root.name for _ in range(3)]
    stamp = f"20240102-030405-{config.digest()[:6]}"
    assert names == [stamp, f"{stamp}-1", f"{stamp}-2"]


def test_a_root_in_directories_that_are_not_there_yet(tiny: Load, tmp_path: Path) -> None:
    run = RunDirectory.create(tiny(f"trainer.run_root={tmp_path}/a/b"))
    assert run.root == tmp_path / "a" / "b" / "tiny"


def test_the_summary(tiny: Load) -> None:
    run = RunDirectory.create(tiny())
    run.finish({"status": "FAILED"})
    run.finish({"status": "FINISHED", "metrics": {"test/loss": 0.5}})
    assert json.loads(run.summary.read_text()) == {
        "status": "FINISHED",
        "metrics": {"test/loss": 0.5},
    }
