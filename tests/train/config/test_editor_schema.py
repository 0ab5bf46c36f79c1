"""The JSON Schema that editors read: current, and of one mind with the loader."""

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from minidl.train.config import Config, json_schema
from minidl.train.config.editor_schema import explained, schema_text
from minidl.train.config.yaml_source import parse, parse_value

CONFIGS = Path(__file__).parents[3] / "configs"
PUBLISHED = CONFIGS / "schema.json"
Classes = dict[str, dict[str, type]]


@functools.cache
def validator() -> Draft7Validator:
    return Draft7Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))


def errors(data: Any) -> list[str]:
    return [error.message for error in validator().iter_errors(data)]


def as_written(text: str) -> Any:
    """A file's data as an editor sees them: variables are text, and so are left as they stand."""
    names = re.findall(r"\$\{env:(\w+)", text)
    shown = text.replace("${env:", "$<env:")
    assert len(names) == shown.count("$<env:")
    data = parse(shown, name="c", environ={}).root.plain()
    return json.loads(json.dumps(data).replace("$<env:", "${env:"))


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), (
        "configs can say something else than configs/schema.json tells editors; run\n"
        "  minidl config schema --output configs/schema.json"
    )


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(validator().schema)
    text = PUBLISHED.read_text(encoding="utf-8")
    names = set(re.findall(r'"#/definitions/(\w+)"', text))
    assert names <= set(validator().schema["definitions"])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_right_by_it_and_names_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert errors(as_written(text)) == []
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")


GOOD = """\
data: {type: MNIST, root: "${env:MINIDL_DATA,data}", batch_size: "${env:SIZE,3}"}
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 8, kernel_size: [3, 3], padding: same}
    - {type: SkipConnection, layers: [{type: ReLU}], connection: add}
    - {type: Linear, out_features: "${env:CLASSES}"}
loss: {type: CrossEntropyLoss, weight: [1, 2.5], reduction: mean}
optimizer: {type: AdamW, lr: 1e-3, betas: [0.9, 0.99], amsgrad: true}
schedule: null
task: null
trainer: {epochs: 3, early_stop: {patience: 2}, clip_norm: 1}
tracking: {tags: {a: b}}
"""


def changed(change: str) -> Any:
    """GOOD with a value set (``a.b=value``), or taken away (``~a.b``)."""
    data = as_written(
        GOOD.replace("    - {type: SkipConnection, layers: [{type: ReLU}], connection: add}\n", "")
    )
    path, _, text = change.removeprefix("~").partition("=")
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    here = copy.deepcopy(data)
    root = here
    for part in parts:
        here = here[part]
    if change.startswith("~"):
        del here[last]
    else:
        source = parse("a: 1", name="c", environ={})
        here[last] = parse_value(text, source, source.root.place, environ={}).plain()
    return root


RIGHT = [
    "seed=3", "optimizer={type: SGD, lr: 0.1}", "data.augment=[{type: RandomShift, pixels: 2}]",
    "model={type: MLP, hidden: [32]}", "~loss", "~schedule", "tracking=null", "data.root=x",
    "schedule={type: StepLR, step_size: 3}", "task={type: Classification}", "trainer.name=null",
    "model.layers.0={type: Sequential, layers: [{type: ReLU}]}",
]  # fmt: skip
WRONG = [
    ("optimizer.Lr=1", "'Lr' was unexpected"),
    ("epochs=3", "'epochs' was unexpected"),
    ("optimizer.type=Adma", "'Adma' is not one of"),
    ("model.layers.0.type=SGD", "'SGD' is not one of"),
    ("optimizer.lr=fast", "is not valid under any"),
    ("optimizer.lr=-1", "is not valid under any"),
    ("optimizer.betas=[0.9]", "is too short"),
    ("optimizer.betas=[0.9, 0.9, 0.9]", "is too long"),
    ("optimizer.betas=[0.9, 1.5]", "is not valid under any"),
    ("data.batch_size=1.5", "is not valid under any"),
    ("data.batch_size=$env", "is not valid under any"),
    ("data.val_fraction=1", "is not valid under any"),
    ("data.augment=[{type: Shift}]", "'Shift' is not one of"),
    ("data.augment={type: RandomShift}", "is not of type 'array'"),
    ("model.layers=[]", "should be non-empty"),
    ("model.layers=ReLU", "is not of type 'array'"),
    ("model.layers.0={out_channels: 3}", "'type' is a required property"),
    ("model.layers.1={type: Linear}", "'out_features' is a required property"),
    ("~optimizer", "'optimizer' is a required property"),
    ("~data.root", "'root' is a required property"),
    ("~model.type", "'type' is a required property"),
    ("optimizer=null", "is not of type 'object'"),
    ("trainer=null", "is not of type 'object'"),
    ("trainer.early_stop={}", "is not valid under any"),
    ("trainer.epochs=0", "is not valid under any"),
    ("tracking.tags={a: 1}", "is not valid under any"),
    ("loss.reduction=summ", "is not valid under any"),
    ("include=3", "is not valid under any"),
    ("seed=true", "is not valid under any"),
]  # fmt: skip


@pytest.mark.parametrize("change", RIGHT)
def test_what_is_right(change: str) -> None:
    assert errors(changed(change)) == []


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong(change: str, message: str) -> None:
    found = errors(changed(change))
    assert any(message in error for error in found), found


def test_with_an_include_nothing_is_missing_but_what_is_there_is_checked() -> None:
    assert errors({"include": "base.yaml"}) == []
    assert errors({"include": ["a", "b"], "optimizer": {"lr": 1}, "data": {"type": "MNIST"}}) == []
    (error,) = errors({"include": "base.yaml", "optimizer": {"type": "SGD", "betas": 1}})
    assert "'betas' was unexpected" in error
    (error,) = errors({"include": "base.yaml", "optimiser": {}})
    assert "'optimiser' was unexpected" in error


def test_keys_and_classes_are_explained() -> None:
    definitions = validator().schema["definitions"]
    assert definitions["Conv2d"]["properties"]["type"]["description"]
    assert definitions["MNIST"]["properties"]["root"]["description"].startswith("Directory of the")
    assert definitions["MNIST"]["properties"]["augment"]["description"].startswith("How training")
    assert definitions["TrainerSection"]["properties"]["epochs"]["description"]
    for name, section in validator().schema["properties"].items():
        assert section["description"] != name, f"Config.{name} has no docstring for editors"


def test_a_docstring_is_taken_apart() -> None:
    doc = "A layer.\n\nOf y = x.\n\nParameters\n----------\np, q : int\n    How\n    much.\n"
    doc += "r\n    So.\n\nRaises\n------\nValueError\n    No.\n"
    prose, said = explained(doc)
    assert prose == "A layer.\n\nOf y = x."
    assert said == {"p": "How much.", "q": "How much.", "r": "So."}
    assert explained("Only prose.") == ("Only prose.", {})


def test_the_same_keys_as_the_loader(classes: Classes) -> None:
    published = json_schema(classes)
    definitions = published["definitions"]
    assert set(published["properties"]) == {"include", *Config.model_fields}
    assert set(published["else"]["required"]) == {"data", "model", "optimizer"}
    linear = definitions["Linear"]
    assert set(linear["properties"]) == {"type", "in_features", "out_features", "bias"}
    assert linear["additionalProperties"] is False
    in_features = linear["properties"]["in_features"]
    assert in_features["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert "default" not in in_features
    (chosen,) = [
        branch["then"]
        for branch in definitions["model"]["allOf"]
        if branch["if"]["properties"]["type"]["const"] == "Linear"
    ]
    assert chosen["required"] == ["type", "out_features"]
    assert definitions["SGD"]["properties"]["lr"]["anyOf"][0]["exclusiveMinimum"] == 0
    assert json.loads(schema_text(classes)) == published
