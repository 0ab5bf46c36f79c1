"""Changes from the command line."""

from collections.abc import Callable

import pytest

from minidl.train.config import Config, ConfigError
from minidl.train.config.overrides import apply_overrides
from minidl.train.config.yaml_source import Source, parse

TEXT = """\
data: {type: MNIST}
model:
  type: Sequential
  layers: [{type: Conv2d, out_channels: 8}, {type: ReLU}, {type: Linear}]
optimizer: {type: SGD, lr: 0.1}
trainer:
"""


def override(*overrides: str, text: str = TEXT, **environ: str) -> Source:
    source = parse(text, name="c.yaml", environ=environ)
    apply_overrides(source, overrides, environ=environ)
    return source


def value(path: str, *overrides: str, **environ: str) -> object:
    source = override(*overrides, **environ)
    assert source.problems == []
    assert source.root.faults() == []
    here = source.root.plain()
    for part in path.split("."):
        here = here[int(part) if isinstance(here, list) else part]
    return here


APPLIED = [
    ("optimizer.lr", "optimizer.lr=3e-4", 3e-4),
    ("model.layers.0.out_channels", "model.layers.0.out_channels=64", 64),
    ("model.layers.1", "model.layers.1={type: Dropout, p: 0.2}", {"type": "Dropout", "p": 0.2}),
    ("model.layers.0.kernel_size", "model.layers.0.kernel_size=[3, 5]", [3, 5]),
    ("optimizer.nesterov", "optimizer.nesterov=true", True),
    ("optimizer.nesterov", "optimizer.nesterov=yes", "yes"),
    ("data.root", "data.root=../shared/data/mnist", "../shared/data/mnist"),
    ("data.root", "data.root=", None),
    ("data.root", "data.root='12'", "12"),
    ("data.root", "data.root=a=b", "a=b"),
    ("data.root", "data.root=a#b", "a#b"),
    ("data.root", "data.root= x ", "x"),
    ("trainer.epochs", "trainer.epochs=3", 3),
    ("schedule.min_lr", "schedule.min_lr=1e-5", 1e-5),
    ("trainer.early_stop.patience", "trainer.early_stop.patience=3", 3),
    ("seed", "seed=010", 10),
    ("tracking.uri", "tracking.uri=sqlite:///m.db", "sqlite:///m.db"),
    ("optimizer.momentum", "+optimizer.momentum=0.9", 0.9),
    ("trainer.early_stop.patience", "+trainer.early_stop.patience=3", 3),
    ("trainer", "+trainer={epochs: 3}", {"epochs": 3}),
    ("model.layers.3", "+model.layers={type: ReLU}", {"type": "ReLU"}),
    ("data.a+b", "data.a+b=1", 1),
]


@pytest.mark.parametrize(("path", "text", "wanted"), APPLIED)
def test_values_are_yaml_1_2(path: str, text: str, wanted: object) -> None:
    found = value(path, text)
    assert found == wanted
    assert type(found) is type(wanted)


def test_the_last_override_wins_and_order_counts() -> None:
    assert value("optimizer.lr", "optimizer.lr=1", "optimizer.lr=2") == 2
    assert value("optimizer", "~optimizer.lr", "optimizer.lr=5") == {"type": "SGD", "lr": 5}


def test_the_environment_is_read_on_the_command_line_too() -> None:
    assert value("seed", "seed=${env:SEED,3}") == 3
    assert value("seed", "seed=${env:SEED,3}", SEED="4") == 4


def test_deleting_shifts_the_items_behind() -> None:
    source = override("~model.layers.0", "~optimizer.lr", "~trainer")
    assert source.problems == []
    data = source.root.plain()
    assert [layer["type"] for layer in data["model"]["layers"]] == ["ReLU", "Linear"]
    assert data["optimizer"] == {"type": "SGD"}
    assert "trainer" not in data
    assert str(source.trail(("model", "layers", 0, "type"))[-1].place) == "c.yaml:4:52"


def test_an_override_is_the_place_of_what_it_sets() -> None:
    source = override("optimizer.lr=abc", "model.layers.1={type: [x]}")
    assert str(source.trail(("optimizer", "lr"))[-1].place) == "command line: optimizer.lr=abc"
    nested = source.trail(("model", "layers", 1, "type", 0))[-1]
    assert str(nested.place) == "command line: model.layers.1={type: [x]}"
    assert str(source.trail(("optimizer", "type"))[-1].place) == "c.yaml:5:19"


def test_an_override_mends_an_unset_variable() -> None:
    text = "a: ${env:NOPE}\nb: ${env:NOPE}\n"
    assert len(override(text=text).root.faults()) == 2
    mended = override("a=1", "~b", text=text)
    assert (mended.root.faults(), mended.root.plain()) == ([], {"a": 1})


def test_an_override_of_one_alias_leaves_the_other() -> None:
    source = override("b.x=2", text="a: &n {x: 1}\nb: *n\n")
    assert source.root.plain() == {"a": {"x": 1}, "b": {"x": 2}}


def test_added_items_stand_behind_each_other() -> None:
    layers = value("model.layers", "+model.layers={type: A}", "+model.layers=[B]")
    assert isinstance(layers, list)
    assert layers[3:] == [{"type": "A"}, ["B"]]


def test_adding_to_a_list_that_nobody_wrote() -> None:
    source = parse(TEXT, name="c.yaml", environ={})
    wanted = ["data.augment"]
    apply_overrides(
        source,
        ["+data.augment={type: A}", "+data.augment={type: B}", "+data.root=x"],
        wants_list=lambda path: ".".join(path) in wanted,
    )
    assert source.problems == []
    added = source.root.plain()["data"]
    assert added == {"type": "MNIST", "augment": [{"type": "A"}, {"type": "B"}], "root": "x"}


REFUSED = [
    ("+optimizer.lr=1", "`optimizer.lr` is there already, at c.yaml:5:28"),
    ("+model.layers.1={type: A}", "`+` takes no index, got `1`"),
    ("+model.layers.7={type: A}", "`+` takes no index, got `7`"),
    ("+optimizer.lr", "an override needs a `=`"),
    ("+=3", "`` is no path"),
    ("++optimizer.lr=1", "there is no `++` here"),
    ("optimizer.lr", "an override needs a `=`"),
    ("=3", "`` is no path"),
    ("optimizer..lr=3", "`optimizer..lr` is no path"),
    ("~", "`` is no path"),
    ("~optimizer.lr=3", "a deletion takes no value"),
    ("~optimizer.momentum", "there is no `optimizer.momentum` to delete"),
    ("~nothing.at.all", "there is no `nothing` to delete"),
    ("~trainer.early_stop", "`trainer` is null: `early_stop` cannot be below it"),
    ("model.layers.3={type: ReLU}", "`model.layers` is a list of 3, and `3` is no index of it"),
    ("model.layers.-1.bias=true", "`model.layers` is a list of 3, and `-1` is no index of it"),
    ("model.layers.x=1", "`model.layers` is a list of 3, and `x` is no index of it"),
    ("model.layers.1_0=1", "`model.layers` is a list of 3, and `1_0` is no index of it"),
    ("~model.layers.7", "`model.layers` is a list of 3, and `7` is no index of it"),
    ("optimizer.lr.x=1", "`optimizer.lr` is 0.1: `x` cannot be below it"),
    ("data.type.x=1", '`data.type` is text "MNIST": `x` cannot be below it'),
    ("data.root=[1", "expected ',' or ']', but got the end of the text"),
    ("data.root=a: b", "a value here is one line: text with `: ` or `- ` in it needs quotes"),
    ("data.root=- a", "a value here is one line: text with `: ` or `- ` in it needs quotes"),
    ("data.root=run #1", "` #` begins a comment in YAML: put the value in quotes"),
    ("seed={a: 1, a: 2}", "key `a` is given twice; first at command line: seed={a: 1, a: 2}"),
    ("data.root=\udcff", "character U+DCFF has no place in YAML"),
    (".".join("a" * 90) + "=1", "a path has at most 64 parts, got 90"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_cannot_be_applied(text: str, message: str) -> None:
    (problem,) = override(text).problems
    assert problem.message == message
    assert problem.file == f"command line: {text}".encode("utf-8", "backslashreplace").decode()
    assert (problem.line, problem.snippet) == (None, "")
    str(problem).encode()


@pytest.mark.parametrize("text", ["a=${env:NOPE}", "a=!x 1", "a=99999999999999999999"])
def test_values_that_mean_nothing_are_faults_of_the_value(text: str) -> None:
    (fault,) = override(text).root.faults()
    assert fault.file == f"command line: {text}"


def test_a_deletion_suggests_what_was_meant() -> None:
    assert override("~optimizer.Lr").problems[0].suggestion == "did you mean `lr`?"
    assert override("~optimizr").problems[0].suggestion == "did you mean `optimizer`?"


def test_what_was_refused_says_what_would_be_right() -> None:
    hints = {
        "+optimizer.lr=1": "write optimizer.lr=… to change it",
        "++optimizer.lr=1": "write optimizer.lr=1: it sets what is there and adds what is not",
        "+model.layers.1=A": "+model.layers=… appends an item, model.layers.1=… changes one",
    }
    for text, hint in hints.items():
        assert override(text).problems[0].suggestion == hint
    assert override("seed=1", "+seed=2").problems[0].message == "`seed` is there already"


def test_one_bad_override_does_not_hide_the_others() -> None:
    source = override("x", "seed=3", "~y")
    assert len(source.problems) == 2
    assert source.root.plain()["seed"] == 3


def test_another_type_on_the_command_line_changes_nothing_else(
    load: Callable[..., Config], fails: Callable[..., ConfigError], complete: str
) -> None:
    config = load(complete, "optimizer.type=SGD")
    assert config.optimizer.arguments() == {"lr": 1e-3, "weight_decay": 0.01}
    text = complete.replace("weight_decay: 0.01", "betas: [0, 0]")
    (problem,) = fails(text, "optimizer.type=SGD").problems
    assert problem.message == "SGD has no key `betas`"
    assert problem.line == 12
    assert problem.suggestion == (
        "`type` was changed on the command line; optimizer={type: SGD, …} there replaces the other"
        " keys too"
    )
    assert load(text, "optimizer={type: SGD, lr: 1}").optimizer.arguments() == {"lr": 1.0}
    (problem,) = fails(complete, "optimizer={type: SGD, lr: 1, betas: 2}").problems
    assert problem.suggestion == "`betas` is an argument of AdamW"
