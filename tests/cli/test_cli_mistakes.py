"""A config that cannot be run: one clear message with its place, exit 2, and nothing is created."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import TINY, Minidl, environment

pytest_plugins = ["cli_process"]

TRACKED = TINY + "tracking: {experiment: e}\n"

MISTAKES = {
    "a misspelt key": (
        TRACKED.replace("batch_size", "bacth_size"),
        ["wrong.yaml:2:27: ", "`bacth_size`", "did you mean `batch_size`?"],
    ),
    "a key of another section": (
        TRACKED.replace("batch_size: 50", "epochs: 50"),
        ["wrong.yaml:2:27: ", "`epochs`", "`trainer`"],
    ),
    "a misspelt class": (
        TRACKED.replace("type: ReLU", "type: Relu"),
        ["wrong.yaml:8:14: ", "Relu", "did you mean `ReLU`?"],
    ),
    "a wrong type": (
        TRACKED.replace("out_features: 16", 'out_features: "16"'),
        ["wrong.yaml:7:36: ", "a whole number", '"16"'],
    ),
    "a duplicate key": (
        TRACKED.replace("lr: 1e-2}", "lr: 1e-2, lr: 1e-3}"),
        ["wrong.yaml:10:36: ", "`lr`", "10:26"],
    ),
    "a negative size": (
        TRACKED.replace("out_features: 16", "out_features: -16"),
        ["wrong.yaml:7:36: ", "at least 1", "-16"],
    ),
    "missing data": (
        TRACKED.replace("type: MNISTSample,", "type: MNIST, root: not/there,"),
        ["wrong.yaml:2:", "not/there: no such directory", "minidl data fetch mnist"],
    ),
    "a layer that does not fit": (
        TRACKED.replace("type: Flatten", "type: Conv2d, out_channels: 2, kernel_size: 31"),
        ["wrong.yaml:6:7: ", "Conv2d on an input of shape (N, 1, 28, 28)"],
    ),
    "no YAML": ("data: {", ["wrong.yaml:"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_config(minidl: Minidl, folder: Path, mistake: str) -> None:
    text, words = MISTAKES[mistake]
    (folder / "wrong.yaml").write_text(text)
    done = minidl("train", "wrong.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    # One message: the place of the file is named at the beginning of one line only.
    lines = [line for line in done.stderr.splitlines() if line.startswith("wrong.yaml:")]
    assert len(lines) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.yaml", "wrong.yaml"]


def test_a_missing_file(minidl: Minidl, folder: Path) -> None:
    done = minidl("train", "tiyn.yaml")
    assert done.returncode == 2
    assert "tiyn.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lrr=1", ["command line: optimizer.lrr=1", "did you mean `lr`?"]),
        ("optimizer.lr=-1", ["command line: optimizer.lr=-1", "-1"]),
        ("nonsense", ["nonsense"]),
        ("trainer.run_root=tiny.yaml", ["command line: trainer.run_root", "cannot be made"]),
    ],
)
def test_a_wrong_override(minidl: Minidl, folder: Path, override: str, words: list[str]) -> None:
    done = minidl("train", "tiny.yaml", override)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_several_mistakes_at_once(minidl: Minidl, folder: Path) -> None:
    text = TINY.replace("seed: 7", "seed: -7").replace("lr:", "lrr:")
    (folder / "wrong.yaml").write_text(text)
    for verb in ("train", "validate"):
        done = minidl(verb, "wrong.yaml")
        assert done.returncode == 2
        assert "wrong.yaml:1:7: " in done.stderr
        assert "wrong.yaml:10:26: " in done.stderr


def test_tracking_where_mlflow_is_not_installed(folder: Path) -> None:
    (folder / "tracked.yaml").write_text(TRACKED)
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'mlflow' else find(name, *a)\n"
        "sys.argv = ['minidl', 'train', 'tracked.yaml']\n"
        "from minidl.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "tracked.yaml:12:" in done.stderr
    assert "pip install 'minidl[mlflow]'" in done.stderr
    assert "tracking=null" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.yaml", "tracked.yaml"]


def test_fetching_without_torchvision(minidl: Minidl, folder: Path) -> None:
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed: the command would download")
    done = minidl("data", "fetch", "mnist", "--root", "here")
    assert done.returncode == 1
    assert "pip install 'minidl[torchvision]'" in done.stderr
    assert "MNISTSample" in done.stderr
    assert "four files" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_fetching_what_there_is_not(minidl: Minidl) -> None:
    done = minidl("data", "fetch", "imagenet")
    assert done.returncode == 2
    assert "mnist" in done.stderr


def test_a_run_that_diverges(minidl: Minidl, folder: Path) -> None:
    done = minidl("train", "tiny.yaml", "optimizer={type: SGD, lr: 1e30}")
    assert done.returncode == 1
    assert "the loss became" in done.stderr
    assert "a smaller optimizer.lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"FAILED"' in (folder / "runs/tiny/summary.json").read_text()
