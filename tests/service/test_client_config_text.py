"""The text that is submitted, and that what is wrong in it is told at the user's own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidl.service.client.config_text import config_text
from minidl.train.config import ConfigError, config_from_data, load_config
from minidl.train.config.yaml_source import parse

BASE = """\
# base.yaml
data: {type: MNISTSample, batch_size: 50}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 10}
optimizer: {type: SGD, lr: 0.1}
"""
ABOVE = """\
include: base.yaml
# a longer training
trainer:
  epochs: 20
optimizer: {lr: 0.5, momentum: 0.9}
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    Path("above.yaml").write_text(ABOVE)


def place_of(text: str, *path: str | int) -> dict[str, object]:
    """Where the service sees the value of a path in the text that it gets."""
    node = parse(text, name="config", environ={"MINIDL_DATA": "", "MLFLOW_TRACKING_URI": ""}).root
    for part in path:
        child = node.child(part)
        assert child is not None
        node = child
    return {"line": node.place.line, "column": node.place.column}


def test_a_file_that_is_whole_is_sent_as_it_is() -> None:
    sent = config_text(Path("base.yaml"))
    assert sent.text == BASE
    with pytest.raises(ConfigError) as caught:
        raise sent.error([{"line": 8, "column": 29, "message": "too much", "suggestion": "less"}])
    assert str(caught.value).splitlines() == [
        "base.yaml:8:29: too much",
        "    optimizer: {type: SGD, lr: 0.1}",
        " " * (4 + 28) + "^",
        "  less",
    ]


def test_the_services_own_variables_are_left_to_it() -> None:
    text = BASE.replace("MNISTSample", 'MNIST, root: "${env:MINIDL_DATA,data}"')
    Path("base.yaml").write_text(text)
    assert config_text(Path("base.yaml"), environ={"MINIDL_DATA": "/mine"}).text == text


def test_includes_and_changes_are_put_in() -> None:
    sent = config_text(Path("above.yaml"), ["trainer.epochs=3", "~optimizer.momentum"])
    mine = load_config("above.yaml", ["trainer.epochs=3", "~optimizer.momentum"])
    theirs = config_from_data(parse(sent.text, name="config").root.plain())
    assert theirs.resolved() == mine.resolved()
    first = sent.text.splitlines()[0]
    assert first == (
        "# Put together by minidl submit: above.yaml, base.yaml trainer.epochs=3 "
        "~optimizer.momentum"
    )


@pytest.mark.parametrize(
    ("path", "overrides", "told"),
    [
        (("optimizer", "lr"), [], "above.yaml:5:17: no\n    optimizer: {lr: 0.5"),
        (("data", "batch_size"), [], "base.yaml:2:39: no\n    data: {type"),
        (("model", "layers", 1, "out_features"), [], "base.yaml:7:36: no\n"),
        (("trainer", "epochs"), [], "above.yaml:4:11: no\n      epochs: 20\n              ^"),
        (("trainer", "epochs"), ["trainer.epochs=-1"], "command line: trainer.epochs=-1: no"),
        (("trainer", "name"), ["trainer.name=x"], "command line: trainer.name=x: no"),
    ],
)
def test_what_is_wrong_is_told_where_it_was_written(
    path: tuple[str | int, ...], overrides: list[str], told: str
) -> None:
    sent = config_text(Path("above.yaml"), overrides)
    error = sent.error([{**place_of(sent.text, *path), "message": "no", "suggestion": None}])
    assert str(error).startswith(told)


def test_a_key_is_found_too() -> None:
    sent = config_text(Path("above.yaml"))
    (line,) = [n for n, text in enumerate(sent.text.splitlines(), 1) if "momentum" in text]
    error = sent.error([{"line": line, "column": 3, "message": "no key `momentum`"}])
    assert str(error).startswith("above.yaml:5:22: no key `momentum`")


def test_what_has_no_place_is_told_of_the_file() -> None:
    error = config_text(Path("above.yaml")).error([{"message": "it is odd", "line": None}])
    assert str(error) == "above.yaml: it is odd"


def test_this_sides_variables_are_replaced_and_the_services_are_not() -> None:
    Path("v.yaml").write_text(
        'data: {type: MNIST, root: "${env:MINIDL_DATA,data}/${env:PART,all}", '
        "batch_size: 7}\nseed: ${env:SEED,1}\ntracking: "
        '{experiment: "${env:TEAM}", uri: "${env:MLFLOW_TRACKING_URI}"}\n'
    )
    sent = config_text(Path("v.yaml"), environ={"TEAM": "vision", "MINIDL_DATA": "/mine"})
    assert "/mine" not in sent.text
    data = parse(sent.text, name="config", environ={"MLFLOW_TRACKING_URI": "http://m"}).root.plain()
    assert data == {
        "data": {"type": "MNIST", "root": "data/all", "batch_size": 7},
        "seed": 1,
        "tracking": {"experiment": "vision", "uri": "http://m"},
    }


@pytest.mark.parametrize(
    ("text", "overrides", "told"),
    [
        ("a: [1", [], "c.yaml:1"),
        ("seed: ${env:NOT_SET}", [], "c.yaml:1:7: environment variable NOT_SET is not set"),
        ("include: nowhere.yaml", [], "c.yaml:1:10: the included file nowhere.yaml is not there"),
        ("seed: 1", ["~trainer"], "command line: ~trainer: there is no `trainer` to delete"),
        ("seed: 1\nseed: 2", ["seed=3"], "c.yaml:2:1: key `seed` is given twice"),
    ],
)
def test_what_can_be_seen_here_is_told_here(text: str, overrides: list[str], told: str) -> None:
    Path("c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        config_text(Path("c.yaml"), overrides, environ={})
    assert str(caught.value).startswith(told)


def test_a_comment_holds_any_change() -> None:
    sent = config_text(Path("base.yaml"), ["+data.augment={type: RandomShift}", "seed=1\n"])
    assert sent.text.splitlines()[1].startswith("data:")
