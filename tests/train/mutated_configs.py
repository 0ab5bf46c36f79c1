"""Thousands of damaged configs, made and loaded in one process, which tells how it went.

    python tests/train/mutated_configs.py real keys 1000

Whatever is done to a config, it loads, or it fails as a ConfigError with a place; no case takes a
second, and the process stays small.
"""

from __future__ import annotations

import copy
import functools
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    "a.b.c.d=1", "+seed=1", "+model.layers={type: ReLU}", "+data.augment={type: Cutout, size: 2}",
    "++seed=1", "+optimizer.betas=[0.5, 0.5]", "+model.layers.0=1", "include=b.yaml",
    "loss.weight=balanced",
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
        assert len(problem.snippet) < 400
    text = str(error)
    text.encode()
    assert "pydantic" not in text.lower()
    assert "Traceback" not in text


def outcome(
    path: Path, overrides: list[str], classes: Classes | None, *, written: bool = True
) -> Config | ConfigError:
    """Load; what comes out must be a config that survives a round trip, or errors with places."""
    try:
        config = load_config(path, overrides, classes=classes, environ={})
    except ConfigError as error:
        tells_places(error)
        return error
    data = config.resolved()
    if written:
        data = parse(config.to_yaml(), name="r", environ={}).root.plain()
    assert config_from_data(data, classes=classes) == config
    assert config.digest()
    assert config.flat()
    return config


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


def as_text(random: random.Random, data: Data) -> str:
    """Write data as a block of YAML, or, quicker, as one flow (JSON is YAML)."""
    return dump_yaml(data) if random.random() < 0.05 else json.dumps(data, ensure_ascii=False)


@functools.cache
def as_json(start: str) -> str:
    return json.dumps(parse(start, name="c", environ={}).root.plain())


def mutated(random: random.Random, start: str) -> Data:
    data: Data = json.loads(as_json(start))  # quicker than a deep copy
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        random.choice(MUTATIONS)(random, data)
    return data


def changed_keys(random: random.Random, start: str, path: Path) -> list[str]:
    """Keys dropped, renamed, retyped, swapped, added, nested, given twice."""
    text = as_text(random, mutated(random, start))
    if random.random() < 0.1:
        text = duplicate(random, text)
    path.write_text(text, encoding="utf-8")
    return random.sample(OVERRIDES, random.choice([0, 0, 0, 1, 3]))


def changed_bytes(random: random.Random, start: str, path: Path) -> list[str]:
    path.write_bytes(damage(random, start))
    return []


def included(random: random.Random, start: str, path: Path) -> list[str]:
    """A config in several files, some of them wrong, which may include what they should not."""
    data = mutated(random, start)
    parts: list[Data] = [{}, {}, {}]
    for key, value in data.items():
        for part in random.sample(parts, random.choice([1, 1, 2])):
            part[key] = value
    names = [path.name, "b.yaml", "d.yaml"]
    entries: list[Any] = [
        "b.yaml",
        "d.yaml",
        ["b.yaml", "d.yaml"],
        [],
        None,
        3,
        path.name,
        "no.yaml",
    ]
    for name, part, likely in zip(names, parts, (2, 1, 3), strict=True):
        if random.random() < 0.9 and likely < 3:
            part["include"] = entries[likely]
        elif random.random() < 0.1:
            part["include"] = random.choice(entries)
        text = as_text(random, part)
        written = damage(random, text) if random.random() < 0.1 else text.encode()
        path.with_name(name).write_bytes(written)
    return random.sample(OVERRIDES, random.choice([0, 0, 1]))


KINDS = {"keys": changed_keys, "bytes": changed_bytes, "includes": included}


def run(kind: str, cases: int, start: str, classes: Classes | None) -> dict[str, Any]:
    """Load so many cases, and return what was seen; a case that goes wrong ends it."""
    loaded, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        for case in range(cases):
            dice = random.Random(f"{kind} {case}")
            overrides = KINDS[kind](dice, start, path)
            begin = time.process_time()
            try:
                found = outcome(path, overrides, classes, written=case % 20 == 0)
            except Exception as error:
                error.add_note(f"{kind} {case}: {overrides}\n{path.read_bytes()[:3000]!r}")
                raise
            slowest = max(slowest, time.process_time() - begin)
            loaded += isinstance(found, Config)
    return {"cases": cases, "loaded": loaded, "slowest": slowest, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most memory that this process ever had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts in ru_maxrss what the parent had when it forked
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1e3
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1e3


def bombs(classes: Classes) -> dict[str, Any]:
    """Load each of BOMBS."""
    slowest = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        for name, text in BOMBS.items():
            path.write_text(text)
            begin = time.process_time()
            error = outcome(path, [], classes)
            slowest[name] = time.process_time() - begin
            assert isinstance(error, ConfigError), name
            assert len(str(error)) < 100_000, name
    return {"cases": len(BOMBS), "seconds": slowest, "peak_mb": peak_mb()}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent / "config"))
    from conftest import CLASSES, COMPLETE

    classes, kind, cases = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "bombs":
        print(json.dumps(bombs(CLASSES)))
        return
    print(json.dumps(run(kind, cases, COMPLETE, CLASSES if classes == "stand-ins" else None)))


if __name__ == "__main__":
    main()
