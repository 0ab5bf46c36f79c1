"""What a sweep varies, and how mistakes in it are told."""

from __future__ import annotations

from typing import Any

import pytest
from sweep_configs import BASE, MakePlan

from minidl.sweep.dimensions import is_dimension, split_choices
from minidl.train.config import ConfigError, load_config

pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")
pytest_plugins = ["sweep_configs"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1e-4,1e-3", ["1e-4", "1e-3"]),
        ("[64],[128, 64]", ["[64]", "[128, 64]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("'a,b'", ["'a,b'"]),
        ("{type: SGD, lr: 1},{type: Adam}", ["{type: SGD, lr: 1}", "{type: Adam}"]),
        ("it's,so", ["it's", "so"]),
        ("3", ["3"]),
    ],
)
def test_commas_outside_of_brackets_and_quotes_divide(text: str, parts: list[str]) -> None:
    assert split_choices(text) == parts


@pytest.mark.parametrize(
    ("override", "several"),
    [
        ("optimizer.lr=1e-4,1e-3", True),
        ("optimizer.lr=1e-4", False),
        ("optimizer.betas=[0.9, 0.99]", False),
        ("optimizer.betas=[0.9, 0.99],[0.8, 0.99]", True),
        ("optimizer.lr={low: 1e-4, high: 1e-1, log: true}", True),
        ("optimizer={type: SGD, lr: 0.1}", False),
        ("~trainer.early_stop", False),
        ("data.root='a,b'", False),
    ],
)
def test_an_override_is_a_dimension_where_it_has_several_values(
    override: str, several: bool
) -> None:
    assert is_dimension(override) is several


LR = "  parameters: {optimizer.lr: %s}\n"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("{low: 1, high: 3}", "IntDistribution(high=3, log=False, low=1, step=1)"),
        ("{low: 32, high: 96, step: 32}", "IntDistribution(high=96, log=False, low=32, step=32)"),
        ("{low: 0, high: 1.0}", "FloatDistribution(high=1.0, log=False, low=0.0, step=None)"),
        (
            "{low: 1e-4, high: 1, log: true}",
            "FloatDistribution(high=1.0, log=True, low=0.0001, step=None)",
        ),
        ("[0.1, 0.2]", "CategoricalDistribution(choices=(0.1, 0.2))"),
    ],
)
def test_what_optuna_samples_from(plan: MakePlan, span: str, expected: str) -> None:
    path = "trainer.epochs" if "low: 1, " in span or "32" in span else "optimizer.lr"
    (dimension,) = plan(f"  parameters: {{{path}: {span}}}\n").dimensions
    assert str(dimension.distribution()) == expected


def test_the_grid_in_order_and_the_configs_it_means(plan: MakePlan) -> None:
    made = plan(
        "  parameters:\n    optimizer.lr: [1e-3, 1e-2]\n",
        "model.layers.2={type: ReLU},{type: Tanh}",
        "trainer.epochs=1",
    )
    assert made.grid == (
        {"optimizer.lr": 1e-3, "model.layers.2": '{"type": "ReLU"}'},
        {"optimizer.lr": 1e-3, "model.layers.2": '{"type": "Tanh"}'},
        {"optimizer.lr": 1e-2, "model.layers.2": '{"type": "ReLU"}'},
        {"optimizer.lr": 1e-2, "model.layers.2": '{"type": "Tanh"}'},
    )
    assert made.trials == 4
    assert made.changes(made.grid[1]) == ["optimizer.lr=0.001", 'model.layers.2={"type": "Tanh"}']
    flat = made.variant(made.grid[1]).flat()
    assert flat["optimizer.lr"] == "0.001"
    assert flat["model.layers.2.type"] == "Tanh"
    assert flat["trainer.epochs"] == "1"


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ("{low: 1, high: 7, step: 3}", [1, 4, 7]),
        ("{low: 1, high: 3}", [1, 2, 3]),
    ],
)
def test_a_range_with_steps_makes_a_grid(plan: MakePlan, span: str, values: list[Any]) -> None:
    made = plan(f"  sampler: {{type: Grid}}\n  parameters: {{trainer.epochs: {span}}}\n")
    assert [each["trainer.epochs"] for each in made.grid or ()] == values


def test_decimal_steps_stay_decimal(plan: MakePlan) -> None:
    (dimension,) = plan(LR % "{low: 0.1, high: 0.5, step: 0.1}").dimensions
    assert dimension.grid() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_value_on_the_command_line_fixes_what_the_file_varies(plan: MakePlan) -> None:
    section = "  parameters: {optimizer.lr: [1e-3, 1e-2], trainer.epochs: [1, 2]}\n"
    made = plan(section, "optimizer.lr=0.5")
    assert [d.path for d in made.dimensions] == ["trainer.epochs"]
    assert made.config.optimizer.arguments()["lr"] == 0.5


WRONG = [
    ("optimizer.learning_rate: [1]", "AdamW has no key `learning_rate`", "did you mean `lr`?"),
    ("optimzer.lr: [1]", "there is no section `optimzer`", "did you mean `optimizer`?"),
    ("optimizer.lr: {low: -1, high: 1.0}", "`lr` must be at least 0, got -1.0", None),
    ("optimizer.lr: {low: 2, high: 1}", "`high` of 1 is below `low` of 2", None),
    ("optimizer.lr: {low: 0, high: 1, log: true}", "`log` wants `low` above 0, got 0",
     "choose a small one"),
    ("optimizer.lr: {low: 0, high: 1, step: 0.3}", "steps of 0.3 from 0 do not lead to 1",
     "write high: 0.9"),
    ("optimizer.lr: {low: 1, high: 2, step: 1, log: true}", "`log` and `step` exclude each other",
     "leave one out"),
    ("optimizer.lr: {low: 1, hgh: 2}", "`optimizer.lr` has no key `hgh`", "did you mean `high`?"),
    ("optimizer.lr: 3", "`optimizer.lr` must be a list or a mapping, got 3", None),
    ("optimizer.lr: []", "`optimizer.lr` must hold at least 1, got 0", None),
    ("optimizer.lr: [0.1, 0.10]", "0.1 is given twice",
     "to Optuna true is 1, 1.0 is 1, and a list is its JSON"),
    ("data.batch_size: [32, 0]", "`batch_size` must be at least 1, got 0", None),
    ("model.layers.9.bias: [true]", "`model.layers` is a list of 4, and `9` is no index of it",
     "indices are 0 to 3"),
    ("trainer.name: [a, b]", "`trainer.name` is nothing that a sweep can vary", None),
    ("tracking.uri: [a, b]", "`tracking.uri` is nothing that a sweep can vary", None),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message", "suggestion"), WRONG)
def test_mistakes_in_the_file_are_told_with_their_place(
    plan: MakePlan, line: str, message: str, suggestion: str | None
) -> None:
    with pytest.raises(ConfigError) as failed:
        plan(f"  parameters:\n    {line}\n")
    (problem,) = failed.value.problems
    assert (problem.message, problem.suggestion) == (message, suggestion)
    assert (problem.file, problem.line) == ("tiny.yaml", len(BASE.splitlines()) + 3)
    caret = problem.snippet.splitlines()
    assert caret[0] == f"    {line}"
    assert caret[1].index("^") >= 4


def test_mistakes_are_told_all_at_once(plan: MakePlan) -> None:
    with pytest.raises(ConfigError) as failed:
        plan("", "optimizer.lr=1,-1", "data.batch_size=0,1.5", "model.layers.1.bias=true,3")
    assert sorted(str(problem).splitlines()[0] for problem in failed.value.problems) == [
        "command line: data.batch_size=0,1.5: `batch_size` must be a whole number, got 1.5",
        "command line: data.batch_size=0,1.5: `batch_size` must be at least 1, got 0",
        "command line: model.layers.1.bias=true,3: `bias` must be true or false, got 3",
        "command line: optimizer.lr=1,-1: `lr` must be at least 0, got -1",
    ]


def test_a_value_that_makes_the_model_impossible(plan: MakePlan) -> None:
    with pytest.raises(ConfigError) as failed:
        plan("  parameters:\n    model.layers.3.out_features: [10, 9]\n")
    (problem,) = failed.value.problems
    assert problem.message.startswith("with `model.layers.3.out_features` = 9: ")
    assert problem.snippet.splitlines()[1].index("^") == 38


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("  sampler: {type: TPEE}\n", "sampler has no class `TPEE`"),
        ("  sampler: {type: TPE, sed: 1}\n", "TPE has no key `sed`"),
        ("  sampler: {seed: 1}\n", "`sampler` needs `type`"),
        ("  pruner: {type: Median, eta: 1}\n", "Median has no key `eta`"),
        ("  storage: mysql://host/db\n",
         '`storage` must be sqlite:///FILE or postgresql://…, got text "mysql://host/db"'),
        ('  storage: "sqlite://"\n',
         "`storage` must name a file: a study in memory cannot be gone on with"),
        ("  study: a/b\n",
         'a study\'s name is made of letters, digits, `_`, `-` and `.`, got text "a/b"'),
        ("  metric: val/acc\n",
         "`metric` is val/acc, and this config gives no such metric"),
    ],
)  # fmt: skip
def test_mistakes_in_the_other_keys(plan: MakePlan, section: str, message: str) -> None:
    with pytest.raises(ConfigError) as failed:
        plan(section + LR % "[0.1, 0.2]")
    (problem,) = failed.value.problems
    assert problem.message == message
    assert problem.line is not None


def test_a_grid_needs_an_end(plan: MakePlan) -> None:
    with pytest.raises(ConfigError, match="a grid has no end of values"):
        plan("  sampler: {type: Grid}\n" + LR % "{low: 1e-3, high: 1e-1}")


def test_nothing_to_vary(plan: MakePlan) -> None:
    with pytest.raises(ConfigError, match="there is nothing to vary"):
        plan()


def test_the_section_is_no_part_of_a_run(plan: MakePlan) -> None:
    made = plan(LR % "[0.1, 0.2]")
    assert "sweep" not in made.config.resolved()
    assert made.config.digest() == load_config("tiny.yaml", ["sweep=null"]).digest()
    assert made.variant({"optimizer.lr": 0.1}).digest() != made.config.digest()
