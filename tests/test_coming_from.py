"""docs/coming-from.md: whatever it calls minidl's word for something exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from minidl.cli import app
from minidl.train.callbacks import Callback
from minidl.train.config import Config, TrainerSection

PAGE = (Path(__file__).parents[1] / "docs/coming-from.md").read_text()
#: The last cell of each row that is no heading.
WORDS = [
    word
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| ---")
    for word in re.findall(r"`([^`]+)`", line.strip("| ").split(" | ")[-1])
]


def _words(pattern: str) -> list[str]:
    found = sorted({word for word in WORDS if re.fullmatch(pattern, word)})
    assert found
    return found


@pytest.mark.parametrize("key", _words(r"trainer\.\w+"))
def test_keys_of_the_trainer(key: str) -> None:
    assert key.partition(".")[2] in TrainerSection.model_fields


@pytest.mark.parametrize("command", _words(r"minidl [\w-]+.*"))
def test_verbs_and_options(command: str) -> None:
    group = get_command(app)
    _, verb, *rest = command.split()
    commands = group.commands  # type: ignore[attr-defined]
    assert verb in commands
    found = commands[verb]
    for word in rest:
        if word.startswith("--"):
            assert word in {option for p in found.params for option in p.opts}
        else:
            found = found.commands[word]


@pytest.mark.parametrize("method", _words(r"on_\w+|state_dict"))
def test_callbacks(method: str) -> None:
    assert hasattr(Callback, method)


@pytest.mark.parametrize("section", ["loss", "schedule", "tracking", "callbacks", "seed", "data"])
def test_sections(section: str) -> None:
    assert section in Config.model_fields
    assert any(word.partition(".")[0].partition(":")[0] == section for word in WORDS)
