"""What the README shows is run: its Python, its YAML, its wrong config."""

import re
from pathlib import Path

import pytest

from minidl.train.build import build
from minidl.train.config import ConfigError, load_config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_learns(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
    exec(compile(code, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.95


def test_the_yaml_example_builds(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    experiment = build(load_config(path, ["tracking=null"]))
    assert experiment.total_steps == 5 * -(-5400 // 64)


def test_the_wrong_config_gets_the_message_shown(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    line = "optimizer: {type: AdamW, learning_rate: 1e-3}"
    lines = [line if old.startswith("optimizer:") else old for old in text.splitlines()]
    path = tmp_path / "typo.yaml"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value).replace(str(tmp_path) + "/", "")
    assert message in README, message


def test_every_config_named_is_there() -> None:
    root = Path(__file__).parent.parent
    named = set(re.findall(r"configs/\w+\.yaml|scripts/\w+\.sh|docs/[\w/]+\.\w+", README))
    assert named
    assert not [name for name in named if not (root / name).exists()]
