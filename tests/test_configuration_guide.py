"""What docs/configuration.md shows is run: each file, each command, and what it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minidl.cli import app
from minidl.train.config import load_config

GUIDE = (Path(__file__).parent.parent / "docs/configuration.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", GUIDE, re.DOTALL))
SESSIONS = re.findall(r"```console\n\$ (.*?)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, text in FILES.items():
        Path(name).write_text(f"# {name}\n{text}", encoding="utf-8")


def test_there_are_examples() -> None:
    assert list(FILES) == ["base.yaml", "environment.yaml", "sgd.yaml", "weighted.yaml"]
    assert len(SESSIONS) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_right(name: str) -> None:
    config = load_config(name, environ={"BATCH_SIZE": "7"})
    assert config.data.batch_size == (7 if name == "environment.yaml" else 64)


def test_another_type_begins_anew() -> None:
    assert load_config("sgd.yaml").optimizer.arguments() == {"lr": 0.1}


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[s[0] for s in SESSIONS])
def test_a_command_prints_what_is_shown(command: str, shown: str) -> None:
    name, *arguments = shlex.split(command)
    assert name == "minidl"
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    printed = [" ".join(line.split()) for line in done.output.splitlines()]
    at = 0
    for line in shown.splitlines():
        if line == "…":
            continue
        wanted = " ".join(line.split())
        assert wanted in printed[at:], f"{wanted!r} is not printed\n{done.output}"
        at = printed.index(wanted, at) + 1
    if "…" not in shown:
        assert len(printed) == len(shown.splitlines())


def changes() -> list[str]:
    table = GUIDE.partition("| change | meaning |")[2].partition("\n\n")[0]
    return [shlex.split(cell)[0] for cell in re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)]


@pytest.mark.parametrize("change", changes())
def test_a_change_can_be_made(change: str) -> None:
    before = load_config("base.yaml", ["trainer.early_stop={patience: 3}"])
    config = load_config("base.yaml", ["trainer.early_stop={patience: 3}", change])
    assert config != before


def test_every_section_is_named() -> None:
    sections = GUIDE.partition("What there is:")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", sections))
    assert named == set(type(load_config("base.yaml")).model_fields)
