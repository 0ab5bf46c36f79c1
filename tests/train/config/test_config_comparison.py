"""Whose word a value is, and where two configs differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minidl.train.config import Config, config_from_data
from minidl.train.config.comparison import differences, with_sources
from minidl.train.config.starters import shipped, starter_text
from minidl.train.config.yaml_source import parse

Load = Callable[..., Config]

BASE = """\
data: {type: MNIST, root: data}
model: {type: Sequential, layers: [{type: Flatten}, {type: Linear, out_features: 10}]}
optimizer: {type: AdamW, lr: 1e-3}
"""


def test_each_value_says_whose_word_it_is(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIDL_TEST_ROOT", "there")
    (tmp_path / "base.yaml").write_text(BASE)
    text = "include: base.yaml\nseed: 4\ndata:\n  root: ${env:MINIDL_TEST_ROOT}\n"
    text += "tracking: {uri: '${env:MINIDL_TEST_URI,x}', tags: {note: \"two\\nlines\"}}\n"
    overrides = ["trainer.epochs=2", "tracking.experiment=${env:MINIDL_TEST_ROOT}"]
    environ = {"MINIDL_TEST_ROOT": "there"}
    config = load(text, *overrides, environ=environ)
    shown = with_sources(config)
    lines = {" ".join(line.split()) for line in shown.splitlines()}
    assert {
        "seed: 4 # c.yaml:2",
        "root: there # env MINIDL_TEST_ROOT at c.yaml:4",
        "batch_size: 64 # default",
        "out_features: 10 # base.yaml:2",
        "- type: Flatten # base.yaml:2",
        "lr: 0.001 # base.yaml:3",
        "epochs: 2 # command line",
        "experiment: there # env MINIDL_TEST_ROOT at command line",
        "uri: x # c.yaml:5",
        'note: "two\\nlines" # c.yaml:5',
        "schedule: null # default",
        "- 0.9 # default",
    } <= lines
    assert all(" # " in line or line.endswith(":") for line in lines)
    again = parse(shown, name="s", environ={}).root.plain()
    assert again == config.resolved(), "comments change nothing"


def test_differences(load: Load) -> None:
    old = load(BASE, "loss={type: CrossEntropyLoss}")
    assert differences(old, old) == []
    assert differences(old, load(f"# other text\n{BASE}", "seed=0")) == []
    new = load(
        BASE, "seed=1", "optimizer={type: SGD, lr: 0.001}", "~model.layers.0",
        "schedule={type: CosineAnnealingLR}",
    )  # fmt: skip
    assert [str(one) for one in differences(old, new)] == [
        "  seed: 0 -> 1",
        "  model.layers.0.type: Flatten -> Linear",
        "- model.layers.0.start_dim: 1",
        "- model.layers.0.end_dim: -1",
        "- model.layers.1.type: Linear",
        "- model.layers.1.out_features: 10",
        "- model.layers.1.bias: true",
        "+ model.layers.0.out_features: 10",
        "+ model.layers.0.bias: true",
        "  optimizer.type: AdamW -> SGD",
        "- optimizer.eps: 1e-08",
        "- optimizer.betas: [0.9, 0.999]",
        "  optimizer.weight_decay: 0.01 -> 0.0",
        "+ optimizer.momentum: 0.0",
        "+ optimizer.nesterov: false",
        "- schedule: null",
        "+ schedule.type: CosineAnnealingLR",
        "+ schedule.warmup_steps: 0",
        "+ schedule.min_lr: 0.0",
    ]
    named = load(BASE, "trainer.name=a"), load(BASE, "trainer.name=")
    assert [str(one) for one in differences(*named)] == ["  trainer.name: a -> null"]
    backwards = [str(one)[2:] for one in differences(new, old) if str(one).startswith("-")]
    assert backwards == [str(one)[2:] for one in differences(old, new) if str(one)[0] == "+"]


def test_a_config_made_in_python_has_origins_too(classes: Any) -> None:
    data: dict[str, Any] = {"data": {"type": "MNISTSample"}, "optimizer": {"type": "AdamW"}}
    data["model"] = {"type": "Sequential", "layers": [{"type": "ReLU"}]}
    config = config_from_data(data, classes=classes)
    assert config.origin(("optimizer", "type")) == "data"
    assert config.origin(("seed",)) == "default"


def test_starters() -> None:
    assert {"starter", "quickstart", "mnist_cnn"} <= set(shipped())
    assert "type: MNISTSample" in starter_text()
    with pytest.raises(ValueError, match=r"'mnist_cn'; did you mean mnist_cnn\? there are: mnist"):
        starter_text("mnist_cn")
    with pytest.raises(ValueError, match=r"no config is called '\.\./quickstart'"):
        starter_text("../quickstart")
