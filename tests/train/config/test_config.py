"""From a config's text to checked values, and every way in which a config can be wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from minidl.arguments import Bound
from minidl.train.config import (
    Config,
    ConfigError,
    config_from_data,
    load_config,
    schema,
)
from minidl.train.config.yaml_source import parse

Load = Callable[..., Config]
Fails = Callable[..., ConfigError]
Classes = dict[str, dict[str, type]]

SMALL = """\
data: {type: MNISTSample}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 10}
optimizer: {type: SGD, lr: 0.1}
"""


# -- what a config says ---------------------------------------------------------------------------


def test_specs_give_type_and_arguments(load: Load, complete: str) -> None:
    config = load(complete)
    assert config.seed == 42
    assert (config.data.type, config.data.arguments()) == ("MNIST", {"root": "data"})
    assert (config.data.batch_size, config.data.val_fraction, config.data.drop_last) == (
        128,
        0.1,
        False,
    )
    layers = config.model.arguments()["layers"]
    assert [layer.type for layer in layers] == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"]
    assert layers[0].arguments() == {"out_channels": 32, "kernel_size": 3, "padding": 1}
    assert layers[2].arguments() == {"kernel_size": (2, 2)}
    assert config.optimizer.arguments() == {"lr": 1e-3, "weight_decay": 0.01}
    assert config.schedule is not None
    assert config.schedule.arguments() == {"warmup_steps": 200, "min_lr": 1e-5}
    assert config.trainer.early_stop is not None
    assert config.trainer.early_stop.patience == 3
    assert config.tracking is not None
    assert config.tracking.uri == "sqlite:///mlflow.db"


def test_defaults(load: Load) -> None:
    config = load(SMALL)
    found = config.resolved()
    wanted: dict[str, Any] = {
        "seed": 0,
        "task": None,
        "data": {
            "type": "MNISTSample", "batch_size": 64, "val_fraction": 0.1, "drop_last": False,
            "augment": [], "prefetch": 2,
        },
        "model": {
            "type": "Sequential",
            "layers": [
                {"type": "Flatten", "start_dim": 1, "end_dim": -1},
                {"type": "Linear", "out_features": 10, "bias": True},
            ],
        },
        "loss": {"type": "CrossEntropyLoss", "label_smoothing": 0.0, "reduction": "mean"},
        "optimizer": {
            "type": "SGD", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
        },
        "schedule": None,
        "metrics": [],
        "tracking": None,
    }  # fmt: skip
    assert wanted.items() <= found.items()
    assert (found["trainer"]["epochs"], found["trainer"]["monitor"]) == (5, "val/accuracy")
    assert config.loss.arguments() == {}


def test_an_empty_tracking_section_is_none_and_a_bare_one_has_defaults(load: Load) -> None:
    assert load(SMALL + "tracking:\n").tracking is None
    tracking = load(SMALL + "tracking: {}\n").tracking
    assert tracking is not None
    wanted = {
        "experiment": "minidl", "uri": "sqlite:///mlflow.db", "run_name": None, "tags": {},
        "log_model": True, "system_metrics": False, "parent_run_id": None,
    }  # fmt: skip
    assert wanted.items() <= tracking.model_dump().items()


def test_defaults_then_file_then_environment_then_command_line(load: Load) -> None:
    text = SMALL + "trainer: {epochs: 3}\n"
    from_environment = SMALL + "trainer:\n  epochs: ${env:EPOCHS,3}\n"
    assert load(SMALL).trainer.epochs == 5
    assert load(text).trainer.epochs == 3
    assert load(from_environment, environ={}).trainer.epochs == 3
    assert load(from_environment, environ={"EPOCHS": "7"}).trainer.epochs == 7
    assert load(from_environment, "trainer.epochs=9", environ={"EPOCHS": "7"}).trainer.epochs == 9


def test_a_whole_number_is_a_number_and_a_list_a_tuple(load: Load) -> None:
    config = load(SMALL, "optimizer={type: AdamW, lr: 1, betas: [0, 0.5]}", "trainer.clip_norm=2")
    assert config.optimizer.arguments() == {"lr": 1.0, "betas": (0.0, 0.5)}
    assert type(config.optimizer.arguments()["lr"]) is float
    assert type(config.trainer.clip_norm) is float


def test_sequentials_nest(load: Load) -> None:
    nested = "{type: Sequential, layers: [{type: Sequential, layers: [{type: ReLU}]}]}"
    outer = load(SMALL, f"model={nested}").model.arguments()["layers"][0]
    assert outer.arguments()["layers"][0].type == "ReLU"


def test_inferred_arguments_may_be_given(load: Load) -> None:
    config = load(SMALL, "model.layers.1.in_features=784")
    assert config.model.arguments()["layers"][1].arguments() == {
        "in_features": 784,
        "out_features": 10,
    }
    assert config.flat()["model.layers.1.in_features"] == "784"


# -- what a config gives back ---------------------------------------------------------------------


def test_the_resolved_config_loads_again_to_an_equal_one(
    load: Load, complete: str, classes: Classes
) -> None:
    for text in (SMALL, complete):
        config = load(
            text, "tracking.tags={a: '1e-3', b: '0o10', c: 'no', d: ''}", "trainer.name='é #1'"
        )
        again = load(config.to_yaml())
        assert again == config
        assert again.digest() == config.digest()
        assert again.to_yaml() == config.to_yaml()
        assert config_from_data(config.resolved(), classes=classes) == config
        assert (
            config_from_data(json.loads(json.dumps(config.resolved())), classes=classes) == config
        )


def test_the_digest_is_that_of_the_meaning(load: Load) -> None:
    digest = load(SMALL).digest()
    assert len(digest) == 64
    assert load(SMALL + "# a comment\nseed: 0\n").digest() == digest
    assert load(SMALL, "optimizer.lr=1e-1").digest() == digest
    assert load(SMALL, "seed=1").digest() != digest
    assert len({load(SMALL), load(SMALL, "seed=0"), load(SMALL, "seed=1")}) == 2


def test_flat_has_a_text_for_each_dotted_path(load: Load, complete: str) -> None:
    flat = load(complete).flat()
    assert flat["model.layers.0.out_channels"] == "32"
    assert flat["model.layers.2.kernel_size"] == "[2, 2]"
    assert flat["optimizer.lr"] == "0.001"
    assert flat["trainer.name"] == "null"
    assert flat["data.drop_last"] == "false"
    assert flat["tracking.tags"] == "{}"
    assert flat["trainer.monitor"] == "val/accuracy"
    assert all(isinstance(value, str) for value in flat.values())


def test_places_are_for_the_builder(load: Load, complete: str) -> None:
    config = load(complete, "model.layers.4.out_features=5")
    assert config.place(("model", "layers", 0, "kernel_size")) == "c.yaml:6:53"
    assert config.place(("model", "layers", 1)) == "c.yaml:7:7"
    assert config.place(("model", "layers", 1, "bias")) == "c.yaml:7:7", "the nearest thing written"
    out_features = ("model", "layers", 4, "out_features")
    assert config.place(out_features) == "command line: model.layers.4.out_features=5"
    error = config.problem(("model", "layers", 1), "no.", "try Tanh")
    assert isinstance(error, ConfigError)
    assert str(error) == "c.yaml:7:7: no.\n        - {type: ReLU}\n          ^\n  try Tanh"
    assert config.source_text == complete


def test_a_config_is_frozen(load: Load) -> None:
    config = load(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        config.optimizer.type = "Adam"


def test_from_data(classes: Classes) -> None:
    data: dict[str, Any] = {
        "data": {"type": "MNISTSample"},
        "model": {"type": "Sequential", "layers": ({"type": "Linear", "out_features": 2},)},
        "optimizer": {"type": "AdamW", "betas": (0.8, 0.9)},
    }
    config = config_from_data(data, classes=classes)
    assert config.optimizer.arguments() == {"betas": (0.8, 0.9)}
    assert parse(config.source_text, name="x").root.plain()["optimizer"]["betas"] == [0.8, 0.9]
    assert config.place(("optimizer", "type")) == "data: optimizer.type"
    data["optimizer"]["betas"] = (0.8, object())
    data["seed"] = -1
    data[3] = 4
    with pytest.raises(ConfigError) as caught:
        config_from_data(data, classes=classes)
    assert sorted(str(caught.value).splitlines()) == [
        "data: a key must be text, got 3",
        "data: optimizer.betas.1: a config holds plain data, got object",
        "data: seed: `seed` must be at least 0, got -1",
    ]


def test_data_that_contains_itself_ends(classes: Classes) -> None:
    data: dict[str, Any] = {}
    data["model"] = data
    with pytest.raises(ConfigError, match="deeper than 64 levels"):
        config_from_data(data, classes=classes)


# -- what is wrong: (override, line of the message, suggestion) ----------------------------------

LAYER = "model.layers.0"
WRONG = [
    # Names of keys
    ("optimizer.Lr=1", "SGD has no key `Lr`", "did you mean `lr`?"),
    ("data.batchsize=1", "MNISTSample has no key `batchsize`", "did you mean `batch_size`?"),
    ("data.batch-size=1", "MNISTSample has no key `batch-size`", "did you mean `batch_size`?"),
    ("trainer.epoch=1", "`trainer` has no key `epoch`", "did you mean `epochs`?"),
    ("optimizer.epochs=1", "SGD has no key `epochs`", "`epochs` belongs to `trainer`"),
    ("trainer.lr=1", "`trainer` has no key `lr`", "`lr` belongs to `optimizer`"),
    ("optimizer.betas=1", "SGD has no key `betas`", "`betas` is an argument of AdamW"),
    ("trainer.batchSize=1", "`trainer` has no key `batchSize`",
     "did you mean `batch_size`? It belongs to `data`"),
    ("epochs=1", "there is no section `epochs`", "`epochs` belongs to `trainer`"),
    ("optimiser={type: SGD}", "there is no section `optimiser`", "did you mean `optimizer`?"),
    ("qqq=1", "there is no section `qqq`",
     f"there are: {', '.join(Config.model_fields)}"),
    (f"{LAYER}.zzz=1", "Flatten has no key `zzz`", "there are: type, start_dim, end_dim"),
    ("trainer.early_stop={patience: 1, patiance: 2}", "`early_stop` has no key `patiance`",
     "did you mean `patience`?"),
    ("optimizer.rng=1", "SGD has no key `rng`",
     "there are: type, lr, momentum, nesterov, weight_decay"),
    # Names of classes
    (f"{LAYER}.type=Conv2D", "model has no class `Conv2D`", "did you mean `Conv2d`?"),
    (f"{LAYER}.type=Linaer", "model has no class `Linaer`", "did you mean `Linear`?"),
    (f"{LAYER}.type=batch_norm2d", "model has no class `batch_norm2d`",
     "did you mean `BatchNorm2d`?"),
    (f"{LAYER}.type=sgd", "model has no class `sgd`", "`SGD` belongs to `optimizer`"),
    ("optimizer.type=ReLU", "optimizer has no class `ReLU`", "`ReLU` belongs to `model`"),
    ("optimizer.type=xyz", "optimizer has no class `xyz`", "there are: SGD, AdamW"),
    ("optimizer.type=os.system", "optimizer has no class `os.system`", "there are: SGD, AdamW"),
    ("optimizer.type=5", "`type` must be the name of a class, got 5", "there are: SGD, AdamW"),
    ("optimizer.type=[SGD]", "`type` must be the name of a class, got a list",
     "there are: SGD, AdamW"),
    ("schedule={type: Cosine}", "schedule has no class `Cosine`", "there are: CosineAnnealingLR"),
    ("schedule={type: cosine_annealing_lr}", "schedule has no class `cosine_annealing_lr`",
     "did you mean `CosineAnnealingLR`?"),
    ("loss={}", "`loss` needs `type`", "there are: CrossEntropyLoss, MSELoss"),
    ("schedule={}", "`schedule` needs `type`", "there are: CosineAnnealingLR"),
    # Missing keys
    ("~optimizer", "section `optimizer` is missing", None),
    ("~optimizer.lr", "SGD needs `lr`", None),
    ("data={type: MNIST}", "MNIST needs `root`", None),
    ("trainer.early_stop={}", "`early_stop` needs `patience`", None),
    (f"{LAYER}={{type: Linear}}", "Linear needs `out_features`", None),
    ("model={type: Sequential}", "Sequential needs `layers`", None),
    ("model={type: Sequential, layers: []}", "`layers` must hold at least 1, got 0", None),
    # Types
    ("seed='3'", '`seed` must be a whole number, got text "3"', "remove the quotes"),
    ("seed=1_000", '`seed` must be a whole number, got text "1_000"', "remove the underscores"),
    ("seed=3.0", "`seed` must be a whole number, got 3.0", "write 3"),
    ("seed=3.5", "`seed` must be a whole number, got 3.5", None),
    ("seed=true", "`seed` must be a whole number, got true", None),
    ("seed=", "`seed` must be a whole number, got null", "give it a value, or remove the key"),
    ("seed=[1]", "`seed` must be a whole number, got a list", None),
    ("seed={a: 1}", "`seed` must be a whole number, got a mapping", None),
    ("optimizer.lr='1e-3'", '`lr` must be a number, got text "1e-3"', "remove the quotes"),
    ("optimizer.lr=fast", '`lr` must be a number, got text "fast"', None),
    ("optimizer.lr=true", "`lr` must be a number, got true", None),
    ("optimizer.nesterov=yes", '`nesterov` must be true or false, got text "yes"',
     "write true, without quotes: YAML 1.2 has only true and false"),
    ("optimizer.nesterov=1", "`nesterov` must be true or false, got 1", None),
    ("trainer.name=3", "`name` must be text, got 3", "put it in quotes"),
    ("tracking.tags={v: 1.0}", "`v` must be text, got 1.0", "put it in quotes"),
    ("tracking.tags=x", '`tags` must be a mapping, got text "x"', None),
    ("trainer=3", "`trainer` must be a mapping, got 3", None),
    ("model=Sequential", '`model` must be a mapping with `type`, got text "Sequential"', None),
    (f"{LAYER}=ReLU", 'item 1 of `layers` must be a mapping with `type`, got text "ReLU"', None),
    ("model.layers={type: ReLU}", "`layers` must be a list, got a mapping", None),
    ("loss={type: CrossEntropyLoss, reduction: summ}",
     '`reduction` must be `mean`, `sum` or `none`, got text "summ"', "did you mean `sum`?"),
    # Unions say what each branch wants, or where the branch that was meant went wrong
    (f"{LAYER}={{type: MaxPool2d, kernel_size: x}}",
     '`kernel_size` must be a whole number or a list, got text "x"', None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: '2'}}",
     '`kernel_size` must be a whole number or a list, got text "2"', "remove the quotes"),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: {{int: 2}}}}",
     "`kernel_size` must be a whole number or a list, got a mapping", None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: -2}}",
     "`kernel_size` must be at least 1, got -2", None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: [2, 0]}}",
     "item 2 of `kernel_size` must be at least 1, got 0", None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: [2, x]}}",
     'item 2 of `kernel_size` must be a whole number, got text "x"', None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: [2]}}",
     "`kernel_size` is too short: its item number 2 is missing", None),
    (f"{LAYER}={{type: MaxPool2d, kernel_size: [2, 2, 2]}}",
     "`kernel_size` must hold at most 2, got 3", None),
    (f"{LAYER}={{type: Conv2d, out_channels: 1, kernel_size: 1, padding: sane}}",
     '`padding` must be a whole number, a list, `same` or `valid`, got text "sane"',
     "did you mean `same`?"),
    # Bounds
    ("seed=-1", "`seed` must be at least 0, got -1", None),
    ("data.batch_size=0", "`batch_size` must be at least 1, got 0", None),
    ("data.val_fraction=1", "`val_fraction` must be below 1, got 1", None),
    ("data.val_fraction=-.1", "`val_fraction` must be at least 0, got -0.1", None),
    ("optimizer.lr=0", "`lr` must be above 0, got 0", None),
    ("optimizer.lr=.inf", "`lr` must be a finite number, got .inf", None),
    ("optimizer.lr=1e999", "`lr` must be a finite number, got .inf", None),
    ("optimizer.lr=.nan", "`lr` must be a finite number, got .nan", None),
    ("trainer.clip_norm=0", "`clip_norm` must be above 0, got 0", None),
    (f"{LAYER}={{type: Linear, out_features: -3}}", "`out_features` must be at least 1, got -3",
     None),
    (f"{LAYER}={{type: Linear, out_features: 3, in_features: null}}",
     "`in_features` must be a whole number, got null", "give it a value, or remove the key"),
    ("loss={type: CrossEntropyLoss, label_smoothing: 1.5}",
     "`label_smoothing` must be at most 1, got 1.5", None),
    # Metrics
    ("trainer.monitor=val/acuracy",
     "`monitor` is val/acuracy, and this config gives no such metric",
     "did you mean `val/accuracy`?"),
    ("data.val_fraction=0",
     "`monitor` is val/accuracy, but `val_fraction` of 0 leaves no validation samples",
     "set `monitor` in `trainer` to train/accuracy, or `val_fraction` in `data` above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message", "suggestion"), WRONG)
def test_messages(override: str, message: str, suggestion: str | None, fails: Fails) -> None:
    (problem,) = fails(SMALL, override).problems
    assert problem.message == message
    assert problem.suggestion == suggestion
    assert "pydantic" not in str(problem)


def test_no_validation_samples_is_fine_with_a_training_metric(load: Load) -> None:
    config = load(SMALL, "data.val_fraction=0", "trainer.monitor=train/loss")
    assert config.trainer.monitor == "train/loss"


PLACES = [
    ("lr: 0.1", "lr: -1", 7, 28, "`lr` must be above 0, got -1"),
    ("lr: 0.1", "Lr: 0.1", 7, 24, "SGD has no key `Lr`"),
    ("{type: SGD, lr: 0.1}", "{type: SGD}", 7, 1, "SGD needs `lr`"),
    ("{type: SGD, lr: 0.1}", "{lr: 0.1}", 7, 1, "`optimizer` needs `type`"),
    ("{type: SGD, lr: 0.1}", "{type: sgdd}", 7, 19, "optimizer has no class `sgdd`"),
    ("- {type: Flatten}", "- {type: Linear}", 5, 7, "Linear needs `out_features`"),
    ("- {type: Flatten}", "- type: Linear\n      out_featurs: 3", 6, 7,
     "Linear has no key `out_featurs`"),
    ("data: {type: MNISTSample}", "seed: 1", 1, 1, "section `data` is missing"),
    ("out_features: 10", "out_features: ten", 6, 36,
     '`out_features` must be a whole number, got text "ten"'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), PLACES)
def test_places(old: str, new: str, line: int, column: int, message: str, fails: Fails) -> None:
    (problem,) = fails(SMALL.replace(old, new)).problems
    assert (problem.file, problem.line, problem.column) == ("c.yaml", line, column)
    assert problem.message == message


def test_the_whole_text_of_an_error(fails: Fails) -> None:
    error = fails(SMALL.replace("lr: 0.1", "lerning_speed: 1, momentun: .9"), "seed=x")
    assert str(error) == (
        "c.yaml:7:1: SGD needs `lr`\n"
        "    optimizer: {type: SGD, lerning_speed: 1, momentun: .9}\n"
        "    ^\n"
        "c.yaml:7:24: SGD has no key `lerning_speed`\n"
        "    optimizer: {type: SGD, lerning_speed: 1, momentun: .9}\n"
        "                           ^\n"
        "  there are: type, lr, momentum, nesterov, weight_decay\n"
        "c.yaml:7:42: SGD has no key `momentun`\n"
        "    optimizer: {type: SGD, lerning_speed: 1, momentun: .9}\n"
        "                                             ^\n"
        "  did you mean `momentum`?\n"
        'command line: seed=x: `seed` must be a whole number, got text "x"'
    )


def test_all_kinds_of_mistakes_are_told_at_once_and_in_order(fails: Fails) -> None:
    text = SMALL.replace("Flatten", "Flaten").replace("lr: 0.1", "lr: '${env:LR}', lr: 2")
    text += "trainer: {epochs: 0, epochs: 2}\nseed: !x 1\n"
    error = fails(text, "nonsense", "trainer.log_every=0")
    assert [(problem.line, problem.column) for problem in error.problems] == [
        (5, 14), (7, 28), (7, 41), (8, 19), (8, 22), (9, 7), (None, None), (None, None),
    ]  # fmt: skip


def test_a_value_that_could_not_be_read_is_told_once(fails: Fails) -> None:
    (problem,) = fails(SMALL.replace("{type: SGD, lr: 0.1}", "${env:NOPE}")).problems
    assert problem.message.startswith("environment variable NOPE is not set")


def test_an_override_mends_what_the_file_got_wrong(load: Load, fails: Fails) -> None:
    text = SMALL.replace("0.1", "'${env:NOPE}'")
    assert fails(text).problems[0].line == 7
    assert load(text, "optimizer.lr=2").optimizer.arguments() == {"lr": 2.0}
    assert fails(SMALL.replace("0.1", "x"), "optimizer.lr=y").problems[0].line is None


def test_a_class_named_like_a_key_does_not_confuse_the_place(fails: Fails) -> None:
    text = SMALL.replace("type: Linear,", "type: Linear, Linear: 3,")
    (problem,) = fails(text).problems
    assert (problem.line, problem.column, problem.message) == (6, 22, "Linear has no key `Linear`")


def test_a_config_must_be_a_mapping(fails: Fails) -> None:
    (problem,) = fails("- a\n").problems
    assert problem.message == "a config is a mapping of sections, got a list"
    (problem,) = fails("just text").problems
    assert problem.message == 'a config is a mapping of sections, got text "just text"'


def test_thousands_of_mistakes_are_cut_short(fails: Fails) -> None:
    error = fails(SMALL + "".join(f"k{i}: 1\n" for i in range(3000)))
    assert len(str(error).splitlines()) < 300
    assert "more problems" in str(error)


# -- the schema -----------------------------------------------------------------------------------


def test_hints_become_what_yaml_can_say(classes: Classes) -> None:
    assert schema.in_yaml(str | Path) is str
    assert schema.in_yaml(object) is None
    assert schema.in_yaml(object | None) is None
    assert schema.in_yaml(list[object]) is None
    assert schema.in_yaml(list[int]) == list[int]
    assert schema.in_yaml(Annotated[object, Bound(gt=0)]) is None


def test_a_required_argument_that_yaml_cannot_say_is_a_developers_error(classes: Classes) -> None:
    class Odd:
        def __init__(self, where: Callable[[], None]) -> None: ...

    with pytest.raises(TypeError, match=r"Odd\.where: .* cannot be written in YAML"):
        schema.spec_models({**classes, "loss": {"Odd": Odd}})


def test_importing_the_config_brings_no_mlflow() -> None:
    code = "import sys, minidl.train.config; print([m for m in sys.modules if m == 'mlflow'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the real classes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Classes:
    try:
        return schema.registry()
    except (ImportError, AttributeError) as error:
        pytest.skip(f"minidl's own classes are not all there: {error}")


def test_the_real_classes_take_the_complete_config(
    real: Classes, complete: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(complete)
    config = load_config("c.yaml")
    assert config_from_data(config.resolved()) == config
    assert config.model.arguments()["layers"][0].arguments()["out_channels"] == 32


def test_every_real_class_can_be_written_in_yaml(real: Classes) -> None:
    models = schema.spec_models(real)
    assert "in_features" in models["model"]["Linear"].inferred
    assert "in_channels" in models["model"]["Conv2d"].inferred
    for section, named in models.items():
        for name, model in named.items():
            keys = set(model.model_fields) - schema.DataSpec.model_fields.keys()
            assert not keys & schema.NOT_IN_YAML, (section, name)


def test_the_stand_ins_have_arguments_that_the_real_classes_have(
    real: Classes, classes: Classes
) -> None:
    models, stand_ins = schema.spec_models(real), schema.spec_models(classes)
    for section, named in stand_ins.items():
        for name, model in named.items():
            assert set(model.model_fields) <= set(models[section][name].model_fields), name
