"""``minidl config show|schema|diff|init`` and ``minidl validate --json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from minidl.cli import app
from minidl.train.config import load_config
from minidl.train.config.editor_schema import schema_text

BASE = """\
data: {type: MNISTSample, batch_size: 50}
model: {type: Sequential, layers: [{type: Flatten}, {type: Linear, out_features: 10}]}
optimizer: {type: AdamW, lr: 1e-3}
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in a directory with ``base.yaml`` and ``c.yaml``, which includes it."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    Path("c.yaml").write_text("include: base.yaml\nseed: 3\n")
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_show(run: Run) -> None:
    done = run("config", "show", "c.yaml", "optimizer.lr=3e-4")
    assert (done.exit_code, done.stderr) == (0, "")
    Path("shown.yaml").write_text(done.stdout)
    assert load_config("shown.yaml") == load_config("c.yaml", ["optimizer.lr=3e-4"])
    with_source = run("config", "show", "c.yaml", "optimizer.lr=3e-4", "--source")
    Path("shown.yaml").write_text(with_source.stdout)
    assert load_config("shown.yaml") == load_config("c.yaml", ["optimizer.lr=3e-4"])
    lines = [" ".join(line.split()) for line in with_source.stdout.splitlines()]
    assert {"seed: 3 # c.yaml:2", "batch_size: 50 # base.yaml:1"} <= set(lines)
    assert {"lr: 0.0003 # command line", "val_fraction: 0.1 # default"} <= set(lines)


def test_show_of_what_is_wrong(run: Run) -> None:
    Path("c.yaml").write_text("include: base.yaml\nsed: 3\n")
    done = run("config", "show", "c.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "c.yaml:2:1: there is no section `sed`\n    sed: 3\n    ^\n" in done.stderr
    assert run("config", "show", "nothing.yaml").exit_code == 2


def test_schema(run: Run) -> None:
    done, wanted = run("config", "schema", "--output", "schema.json"), schema_text()
    assert (done.exit_code, done.stdout) == (0, "")
    assert Path("schema.json").read_text(encoding="utf-8") == wanted
    assert json.loads(run("config", "schema").stdout) == json.loads(wanted)
    done = run("config", "schema", "--output", "not/there.json")
    assert done.exit_code == 1
    assert "not/there.json cannot be written" in done.stderr


def test_diff(run: Run) -> None:
    same = run("config", "diff", "c.yaml", "c.yaml")
    assert (same.exit_code, same.stdout) == (0, "")
    other = run("config", "diff", "base.yaml", "c.yaml")
    assert (other.exit_code, other.stdout) == (1, "  seed: 0 -> 3\n")
    Path("runs/one").mkdir(parents=True)
    Path("runs/one/config.yaml").write_text(run("config", "show", "base.yaml", "seed=5").stdout)
    done = run("config", "diff", "runs/one", "c.yaml", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [{"path": "seed", "old": 5, "new": 3}]
    assert json.loads(run("config", "diff", "c.yaml", "c.yaml", "--json").stdout) == []
    wrong = run("config", "diff", "c.yaml", "runs")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "runs/config.yaml: there is no such file" in wrong.stderr


def test_init(run: Run) -> None:
    done = run("config", "init")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "minidl config schema --output schema.json" in done.stdout
    assert load_config("config.yaml").data.type == "MNISTSample"
    assert "# " in Path("config.yaml").read_text(encoding="utf-8")
    again = run("config", "init")
    assert again.exit_code == 2
    assert "config.yaml is there already" in again.stderr
    assert run("config", "init", "--like", "mnist_cnn", "--output", "cnn.yaml").exit_code == 0
    assert "99.4 %" in Path("cnn.yaml").read_text(encoding="utf-8")
    wrong = run("config", "init", "--like", "mnist_cn", "--output", "d.yaml")
    assert wrong.exit_code == 2
    assert "did you mean mnist_cnn?" in wrong.stderr
    assert not Path("d.yaml").exists()
    assert run("config", "init", "--output", "not/there.yaml").exit_code == 1


def test_validate_for_programs(run: Run) -> None:
    assert (run("validate", "c.yaml", "--json").stdout) == "[]\n"
    done = run("validate", "c.yaml", "optimizer.lrr=1", "seed=-1", "--json")
    assert (done.exit_code, done.stderr) == (2, "")
    assert json.loads(done.stdout)[1] == {
        "file": "command line: optimizer.lrr=1", "line": None, "column": None,
        "message": "AdamW has no key `lrr`", "suggestion": "did you mean `lr`?",
    }  # fmt: skip
    assert len(json.loads(done.stdout)) == 2
    Path("base.yaml").write_text(
        BASE.replace("Flatten", "Conv2d, kernel_size: 99, out_channels: 1")
    )
    (problem,) = json.loads(run("validate", "c.yaml", "--json").stdout)
    assert (problem["file"], problem["line"], problem["column"]) == ("base.yaml", 2, 36)
    assert "(N, 1, 28, 28)" in problem["message"]
