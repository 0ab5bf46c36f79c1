"""``include``: which file's word counts, where each value was written, and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minidl.train.config import Config, ConfigError, load_config
from minidl.train.config.include import MAX_FILES, MAX_LEVELS, read_config

BASE = """\
data: {type: MNIST, root: data, batch_size: 32}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 10}]
optimizer: {type: AdamW, lr: 1e-3, betas: [0.8, 0.9]}
trainer: {epochs: 3, early_stop: {patience: 2}}
"""

Files = Callable[..., Any]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Write files, by their names without suffix, and read ``c.yaml``."""
    monkeypatch.chdir(tmp_path)

    def from_texts(c: str, **others: str) -> Any:
        for name, text in {"c": c, **others}.items():
            path = Path(name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        source = read_config("c.yaml", environ={"LR": "0.5"})
        assert source.problems == []
        return source

    return from_texts


def merged(read: Files, c: str, **others: str) -> Any:
    return read(c, **others).root.plain()


MERGES = [
    ("a scalar is replaced", "a: 1\nb: 2", "b: 3", {"a": 1, "b": 3}),
    ("mappings are merged", "a: {x: 1, y: {z: 1}}", "a: {y: {w: 2}}",
     {"a": {"x": 1, "y": {"z": 1, "w": 2}}}),
    ("lists are replaced", "a: [1, 2, 3]", "a: [4]", {"a": [4]}),
    ("a list in a mapping too", "a: {b: [1, 2]}", "a: {b: []}", {"a": {"b": []}}),
    ("null replaces", "a: {b: 1}", "a: null", {"a": None}),
    ("null is replaced", "a: null", "a: {b: 1}", {"a": {"b": 1}}),
    ("a mapping replaces a list", "a: [1]", "a: {b: 1}", {"a": {"b": 1}}),
    ("the same class keeps its arguments", "optimizer: {type: SGD, lr: 1}",
     "optimizer: {type: SGD, momentum: 0.9}",
     {"optimizer": {"type": "SGD", "lr": 1, "momentum": 0.9}}),
    ("no class is the same class", "optimizer: {type: SGD, lr: 1}", "optimizer: {lr: 2}",
     {"optimizer": {"type": "SGD", "lr": 2}}),
    ("a class after none", "optimizer: {lr: 1}", "optimizer: {type: SGD}",
     {"optimizer": {"lr": 1, "type": "SGD"}}),
    ("another class takes nothing over", "optimizer: {type: AdamW, betas: [0, 0], lr: 1}",
     "optimizer: {type: SGD, momentum: 0.9}", {"optimizer": {"type": "SGD", "momentum": 0.9}}),
    ("nor at any depth", "model: {type: A, head: {type: B, p: 1, q: 2}}",
     "model: {head: {type: C, p: 2}}", {"model": {"type": "A", "head": {"type": "C", "p": 2}}}),
    ("how data are cut stays", "data: {type: MNIST, root: r, batch_size: 32, val_fraction: 0.2}",
     "data: {type: MNISTSample}",
     {"data": {"type": "MNISTSample", "batch_size": 32, "val_fraction": 0.2}}),
    ("a tag called type is a tag", "tracking: {tags: {type: x, note: n}}",
     "tracking: {tags: {type: y}}", {"tracking": {"tags": {"type": "y", "note": "n"}}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "over", "wanted"), [m[1:] for m in MERGES], ids=[m[0] for m in MERGES]
)
def test_merging(base: str, over: str, wanted: Any, read: Files) -> None:
    assert merged(read, f"include: base.yaml\n{over}\n", base=base) == wanted


def test_the_order_is_that_of_the_list_and_the_file_comes_last(read: Files) -> None:
    files = {"one": "a: 1\nb: 1\nc: 1\n", "two": "b: 2\nc: 2\n"}
    text = "c: 3\ninclude: [one.yaml, two.yaml]\n"
    assert merged(read, text, **files) == {"a": 1, "b": 2, "c": 3}
    assert merged(read, "include: []\na: 1\n") == {"a": 1}


def test_included_files_include_from_where_they_lie(read: Files) -> None:
    found = read(
        "include: dir/mid.yaml\na: 0\n",
        dir__mid="include: [low.yaml, ../top.yaml]\nb: 1\n",
        dir__low="a: 2\nb: 2\nc: 2\nd: 2\n",
        top="d: 3\n",
    )
    assert found.root.plain() == {"a": 0, "b": 1, "c": 2, "d": 3}
    places = {key: str(found.trail((key,))[-1].place) for key in "abcd"}
    assert places == {
        "a": "c.yaml:2:4",
        "b": "dir/mid.yaml:2:4",
        "c": "dir/low.yaml:3:4",
        "d": "dir/../top.yaml:1:4",
    }
    assert list(found.texts) == ["c.yaml", "dir/mid.yaml", "dir/low.yaml", "dir/../top.yaml"]


def test_absolute_paths_and_one_file_twice(read: Files, tmp_path: Path) -> None:
    both = f"include: ['{tmp_path}/x.yaml', y.yaml]"
    assert merged(read, both, x="include: y.yaml\na: 1", y="b: 2") == {"b": 2, "a": 1}


def test_defaults_then_include_then_file_then_environment_then_command_line(
    load: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "lower.yaml").write_text("trainer: {log_every: 7, clip_norm: 3}\nseed: 1\n")
    text = "include: [lower.yaml, base.yaml]\nseed: '${env:SEED,3}'\n".replace("'", "")
    assert load(text).trainer.epochs == 3
    assert load(text).trainer.log_every == 7
    assert load(text).trainer.monitor == "val/accuracy"
    assert load(text).seed == 3
    assert load(text, environ={"SEED": "4"}).seed == 4
    assert load(text, "seed=5", environ={"SEED": "4"}).seed == 5
    assert load(text, "~trainer.epochs").trainer.epochs == 5
    assert load(text, "+optimizer.eps=1e-7").optimizer.arguments()["eps"] == 1e-7
    assert load(text, "optimizer.betas.0=0.5").optimizer.arguments()["betas"] == (0.5, 0.9)


def test_a_file_mends_what_it_includes(read: Files) -> None:
    found = read("include: base.yaml\na: 1\n", base="a: ${env:NOPE}\nb: ${env:LR}\n")
    assert (found.root.faults(), found.root.plain()) == ([], {"a": 1, "b": 0.5})
    assert found.trail(("b",))[-1].written == "${env:LR}"


# -- what is wrong is told where it was written ----------------------------------------------------


def test_every_mistake_has_the_line_of_its_own_file(
    fails: Callable[..., ConfigError], tmp_path: Path
) -> None:
    base = BASE.replace("lr: 1e-3", "lr: -1").replace("Flatten", "Flaten") + "seed: 1\nseed: 2\n"
    (tmp_path / "base.yaml").write_text(base)
    error = fails("include: base.yaml\ntrainer: {epochs: 0}\nloss: {type: MSE}\n", "data.rot=x")
    assert str(error) == (
        "c.yaml:2:19: `epochs` must be at least 1, got 0\n"
        "    trainer: {epochs: 0}\n"
        "                      ^\n"
        "c.yaml:3:14: loss has no class `MSE`\n"
        "    loss: {type: MSE}\n"
        "                 ^\n"
        "  there are: CrossEntropyLoss, MSELoss\n"
        "base.yaml:4:19: model has no class `Flaten`\n"
        "      layers: [{type: Flaten}, {type: Linear, out_features: 10}]\n"
        "                      ^\n"
        "  did you mean `Flatten`?\n"
        "base.yaml:5:30: `lr` must be above 0, got -1\n"
        "    optimizer: {type: AdamW, lr: -1, betas: [0.8, 0.9]}\n"
        "                                 ^\n"
        "base.yaml:8:1: key `seed` is given twice; first at base.yaml:7:1\n"
        "    seed: 2\n"
        "    ^\n"
        "  keep one of the two\n"
        "command line: data.rot=x: MNIST has no key `rot`\n"
        "  did you mean `root`?"
    )


def test_the_builder_finds_the_line_too(load: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    config = load("include: base.yaml\n")
    assert config.place(("optimizer", "lr")) == "base.yaml:5:30"
    error = config.problem(("model", "layers", 1), "no.")
    assert "    layers: [{type: Flatten}, {type: Linear" in str(error)


def test_the_source_text_holds_what_was_included(
    load: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    text = load("include: base.yaml\nseed: 1\n").source_text
    lines = text.splitlines()
    assert lines[:4] == ["include: base.yaml", "seed: 1", "", "# included: base.yaml"]
    assert lines[4:] == [f"# {line}" for line in BASE.splitlines()]


REFUSED = [
    ("include: base.yml", {}, "c.yaml:1:10", "the included file base.yml is not there",
     "did you mean `base.yaml`?"),
    ("include: [base.yaml, x/base.yaml]", {}, "c.yaml:1:22",
     "the included file x/base.yaml is not there", None),
    ("include: .", {}, "c.yaml:1:10", "the included file . is not a file", None),
    ("include: pipe", {}, "c.yaml:1:10", "the included file pipe is not a file", None),
    ("include: /dev/zero", {}, "c.yaml:1:10", "the included file /dev/zero is not a file", None),
    ("include: 3", {}, "c.yaml:1:10", "`include` must be a path or a list of paths, got 3", None),
    ("include:", {}, "c.yaml:1:9", "`include` must be a path or a list of paths, got null", None),
    ("include: ''", {}, "c.yaml:1:10",
     '`include` must be a path or a list of paths, got text ""', None),
    ("include: [[a]]", {}, "c.yaml:1:11",
     "`include` must be a path or a list of paths, got a list", None),
    ("include: {a: b}", {}, "c.yaml:1:10",
     "`include` must be a path or a list of paths, got a mapping", None),
    ("include: https://example.org/base.yaml", {}, "c.yaml:1:10",
     "`include` reads files by their path, and `https://example.org/base.yaml` is an address",
     None),
    ("include: '${env:LR}.yaml'", {}, "c.yaml:1:10",
     "an `include` names its file outright: `${env:…}` is not replaced here", None),
    ("include: '${env:NOPE}'", {}, "c.yaml:1:10",
     "environment variable NOPE is not set; set it, or give a default: ${env:NOPE,…}", None),
    ("include: c.yaml", {}, "c.yaml:1:10",
     "files include each other in a circle: c.yaml -> c.yaml", None),
    ("include: one.yaml", {"one": "a: 1\ninclude: two.yaml", "two": "include: [./one.yaml]"},
     "two.yaml:1:11", "files include each other in a circle: one.yaml -> two.yaml -> one.yaml",
     None),
    ("include: one.yaml", {"one": "a: [1\nb: 2"}, "one.yaml:2:2",
     "expected ',' or ']', but got ':' (while parsing a flow sequence that begins at 1:4)", None),
    ("include: one.yaml", {"one": "- a"}, "one.yaml:1:1",
     "an included file is a mapping of sections, got a list", None),
    ("include: one.yaml", {"one": "# nothing"}, "one.yaml:1:1",
     "the file is empty; an included file holds sections", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "others", "place", "message", "suggestion"), REFUSED)
def test_what_cannot_be_included(
    text: str, others: dict[str, str], place: str, message: str, suggestion: str | None,
    read: Files,
) -> None:  # fmt: skip
    os.mkfifo("pipe")
    with pytest.raises(ConfigError) as caught:
        read(text, base="a: 1", **others)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{place}: {message}\n")
    assert problem.suggestion == suggestion
    assert problem.snippet.endswith("^")


def test_all_files_that_cannot_be_included_are_told(read: Files) -> None:
    with pytest.raises(ConfigError) as caught:
        read("include: [no.yaml, one.yaml, c.yaml]\na: 1\na: 2\n", one="include: never.yaml")
    places = [f"{p.file}:{p.line}:{p.column}" for p in caught.value.problems]
    assert places == ["c.yaml:1:11", "c.yaml:1:30", "c.yaml:3:1", "one.yaml:1:10"]


def test_limits(read: Files) -> None:
    deep = {f"f{i}": f"include: f{i + 1}.yaml" for i in range(MAX_LEVELS + 1)}
    with pytest.raises(ConfigError, match=f"more than {MAX_LEVELS} levels deep"):
        read("include: f0.yaml", **deep)
    doubling = {f"f{i}": f"include: [f{i + 1}.yaml, f{i + 1}.yaml]" for i in range(9)}
    with pytest.raises(ConfigError, match=f"more than {MAX_FILES} files are included"):
        read("include: f0.yaml", **doubling, f9="a: 1")
    size = r"f3.yaml|larger than 1,000,000 bytes or 10,000 values"
    for text in ("# " + "x" * 400_000 + "\na: 1", "a: [" + "1," * 4_000 + "]"):
        with pytest.raises(ConfigError, match=size) as caught:
            read("include: [f0.yaml, f1.yaml, f2.yaml, f3.yaml]", **dict.fromkeys(deep, text))
        assert all(problem.line == 1 for problem in caught.value.problems)


@pytest.mark.parametrize("override", ["include=base.yaml", "+include=base.yaml"])
def test_an_include_belongs_in_a_file(
    override: str, fails: Callable[..., ConfigError], tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text("seed: 1\n")
    (problem,) = fails(BASE, override).problems
    assert problem.message == "`include` has a meaning in a file only, at its top"


@pytest.mark.parametrize("key", ["include", "inlcude"])
def test_an_include_in_the_wrong_place(key: str, fails: Callable[..., ConfigError]) -> None:
    text = (
        f"{BASE}inlcude: a.yaml\n"
        if key == "inlcude"
        else BASE.replace("{epochs", "{include: a, epochs")
    )
    (problem,) = fails(text).problems
    assert problem.suggestion == "an `include` stands at the top of a file: `include: base.yaml`"


def test_a_config_beside_another_directory(tmp_path: Path, classes: Any) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "c.yaml").write_text("include: base.yaml\n")
    config = load_config(tmp_path / "c.yaml", classes=classes, environ={})
    assert config.place(("seed",)).startswith(str(tmp_path / "c.yaml"))
