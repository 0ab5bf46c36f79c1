"""Damaged configs: whatever is done to one, it loads, or it fails as a ConfigError with a place."""

import copy
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.train.config import Config, ConfigError, config_from_data, load_config
from minidl.train.config.yaml_scalars import dump_yaml
from minidl.train.config.yaml_source import parse

Classes = dict[str, dict[str, type]]
Data = dict[str, Any]
Mutation = Callable[[random.Random, Data], None]

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**62, 2**63, 10**30, 0.5, -0.5, 1e308,
    float("inf"), float("nan"),
    "", "no", "1e-3", "3", "MNIST", "Linear", "SGD", "Sequential", "val/loss", "val_fraction",
    "${env:NOPE}", "${env:NOPE,3}", "${", "é\u2028", "x" * 200, [], {}, [[]], [1, 2], [1, 2, 3],
    {"type": "ReLU"}, {"type": "SGD"}, {"type": None}, {"type": []}, {"type": {}}, {"int": 1},
    [{"type": "Linear"}], [None], {"": ""}, {"a": {"b": {"c": []}}},
]  # fmt: skip
KEYS = [
    "type", "Type", "layers", "lr", "epochs", "epoch", "monitor", "seed", "patience", "trainer",
    "model", "Conv2d", "", " ", "<<", "x.y", "in_features", "tags", "~", "é", "schedule", "int",
]  # fmt: skip
OVERRIDES = [
    "seed=3", "~seed", "~model.layers.0", "model.layers.0={type: ReLU}", "model.layers.99=1", "x",
    "optimizer.lr=[", "trainer.early_stop.patience=2", "data=", "=", "~", "model.layers=[]",
    "loss.reduction=sum", "model.layers.0.layers.0.type=ReLU", "tracking={tags: {a: b}}", "~data",
    "a.b.c.d=1",
]  # fmt: skip


def containers(data: Any) -> list[Any]:
    """Every mapping and list that is not empty, the outermost first."""
    if not isinstance(data, (dict, list)) or not data:
        return []
    children = data.values() if isinstance(data, dict) else data
    return [data, *(inner for child in children for inner in containers(child))]


def pick(random: random.Random, data: Data) -> tuple[Any, Any]:
    here = random.choice(containers(data) or [data])
    keys = list(here) if isinstance(here, dict) else range(len(here))
    return (here, random.choice(keys)) if len(keys) else (here, "seed")


def drop(random: random.Random, data: Data) -> None:
    here, key = pick(random, data)
    if key in here or isinstance(here, list):
        del here[key]


def retype(random: random.Random, data: Data) -> None:
    here, key = pick(random, data)
    here[key] = copy.deepcopy(random.choice(VALUES))


def rename(random: random.Random, data: Data) -> None:
    here, key = pick(random, data)
    if isinstance(here, dict):
        letters = list(key)
        random.shuffle(letters)
        new = random.choice(
            [random.choice(KEYS), key.upper(), key + "s", key[1:], "".join(letters)]
        )
        here[new] = here.pop(key, None)


def swap(random: random.Random, data: Data) -> None:
    (here, key), (there, other) = pick(random, data), pick(random, data)
    if key in here and other in there:
        here[key], there[other] = copy.deepcopy(there[other]), copy.deepcopy(here[key])


def add(random: random.Random, data: Data) -> None:
    here, _ = pick(random, data)
    value = copy.deepcopy(random.choice(VALUES))
    if isinstance(here, dict):
        here[random.choice(KEYS)] = value
    else:
        here.insert(random.randrange(len(here) + 1), value)


def nest(random: random.Random, data: Data) -> None:
    here, key = pick(random, data)
    value = copy.deepcopy(here[key]) if key in here or isinstance(here, list) else 1
    for _ in range(random.choice([1, 3, 30, 70])):
        value = random.choice([[value], {"layers": [value], "type": "Sequential"}, {"a": value}])
    here[key] = value


MUTATIONS: list[Mutation] = [drop, retype, rename, swap, add, nest]


def duplicate(random: random.Random, text: str) -> str:
    lines = text.splitlines()
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    return "\n".join(lines)


def damage(random: random.Random, text: str) -> bytes:
    data = bytearray(text.encode())
    for _ in range(random.choice([1, 2, 5, 40])):
        at = random.randrange(len(data) + 1)
        what = random.randrange(4)
        if what == 0:
            data[at : at + random.choice([1, 1, 8])] = b""
        elif what == 1:
            data[at:at] = bytes([random.randrange(256)])
        elif what == 2:
            data[at:at] = random.choice(
                b"{ } [ ] : - & * ! ? | > % @ ` # , ' \" \t \n --- \\U \\x".split(b" ")
            )
        else:
            data[at : at + 1] = random.choice(
                [b"&a ", b"*a ", b"!!int ", b"!!map ", b"\n  ", b"${env:", b"9" * 5000, b"\x85"]
            )
    return bytes(data)


def tells_places(error: ConfigError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert (problem.line and problem.column) or problem.file.startswith("command line: ")
    text = str(error)
    text.encode()
    assert "pydantic" not in text.lower()
    assert "Traceback" not in text


def outcome(path: Path, overrides: list[str], classes: Classes) -> Config | ConfigError:
    """Load; what comes out must be a config that survives a round trip, or errors with places."""
    try:
        config = load_config(path, overrides, classes=classes, environ={})
    except ConfigError as error:
        tells_places(error)
        return error
    assert (
        config_from_data(
            parse(config.to_yaml(), name="r", environ={}).root.plain(), classes=classes
        )
        == config
    )
    assert config.digest()
    assert config.flat()
    return config


@pytest.mark.parametrize("block", range(10))
def test_mutated_configs(block: int, complete: str, classes: Classes, tmp_path: Path) -> None:
    dice = random.Random(block)
    start = parse(complete, name="c", environ={}).root.plain()
    path = tmp_path / "c.yaml"
    loaded = 0
    for _ in range(80):
        data = copy.deepcopy(start)
        for _ in range(dice.choice([0, 1, 1, 2, 4])):
            dice.choice(MUTATIONS)(dice, data)
        text = dump_yaml(data)
        if dice.random() < 0.1:
            text = duplicate(dice, text)
        path.write_text(text, encoding="utf-8")
        overrides = dice.sample(OVERRIDES, dice.choice([0, 0, 0, 1, 3]))
        loaded += isinstance(outcome(path, overrides, classes), Config)
    assert 3 < loaded < 77, "the mutations should neither spare nor break everything"


@pytest.mark.parametrize("block", range(7))
def test_damaged_bytes(block: int, complete: str, classes: Classes, tmp_path: Path) -> None:
    dice = random.Random(1000 + block)
    path = tmp_path / "c.yaml"
    for _ in range(100):
        path.write_bytes(damage(dice, complete))
        outcome(path, [], classes)


BOMBS = {
    "aliases": "a: &a [x, x, x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijk")),
    "loop": "data: &a {type: MNIST, root: *a}\nmodel: *a\n",
    "deep lists": "seed: " + "[" * 50_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(400)),
    "deep dashes": "seed: \n" + "- " * 20_000,
    "long scalar": "seed: " + "x" * 900_000,
    "many keys": "\n".join(f"k{i}: {i}" for i in range(60_000)),
    "many unknown keys": "trainer: {" + ", ".join(f"epoch{i}: 1" for i in range(4_000)) + "}",
    "digits": "seed: " + "9" * 900_000,
    "exponent": "seed: 1e" + "9" * 900_000,
    "one long key": "? " + "k" * 500_000 + "\n: 1",
    "comments": "#\n" * 400_000,
    "documents": "---\n" * 100_000,
    "anchors": "\n".join(f"a{i}: &a{i} 1" for i in range(4_000)),
    "braces": "{" * 400_000,
    "questions": "? " * 5_000,
    "directive": "%YAML 1." + "9" * 6_000 + "\n---\na: 1",
    "tag directive": "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, classes: Classes, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BOMBS[name])
    error = outcome(path, [], classes)
    assert isinstance(error, ConfigError)
    assert len(str(error)) < 100_000


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc é:#-_0", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(PLAIN)
def test_any_plain_data_survives_being_written_and_read(data: Any) -> None:
    text = dump_yaml({"key": data})
    if "\\0" not in text and "${" not in text:
        source = parse(text, name="c", environ={})
        assert source.root.faults() == []
        assert source.root.plain() == {"key": data}


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60) | st.text("{}[]:,-?!&*'\"|>#\n \t\\ax1%$", max_size=60))
def test_any_text_is_yaml_or_an_error_with_a_place(text: str) -> None:
    try:
        source = parse(text, name="c", environ={})
    except ConfigError as error:
        tells_places(error)
    else:
        assert source.root.place.line
