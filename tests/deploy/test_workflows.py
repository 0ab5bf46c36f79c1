"""GitHub's workflows: what they are made of is known to GitHub, and what they call is here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def tool(name: str) -> str:
    """Return a program that a package of the extra dev has brought."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (extra dev)")
    return found


def check(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def linted(*files: Path) -> subprocess.CompletedProcess[str]:
    """Check types of expressions, needs, keys, inputs of known actions; asks no network."""
    options = ["--profile=correctness", "--shellcheck=", "--no-color"]
    return check(tool("jactionlint"), *options, *map(str, files))


def in_shape(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Check the shape by a schema that the tool brings along."""
    return check(tool("check-jsonschema"), f"--builtin-schema={schema}", *map(str, files))


def test_there_are_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["image", "test", "wheel"]


def test_they_are_right() -> None:
    done = linted(*WORKFLOWS)
    assert done.returncode == 0, done.stdout
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        done = in_shape(schema, *WORKFLOWS)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("runs-on:", "run-on:", "run-on"),
        ("matrix.python", "matrix.pyhton", "pyhton"),
        ("python-version:", "python_version:", "python_version"),
        ("contents: read", "contents: raed", "raed"),
    ],
)
def test_a_wrong_one_is_found(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = (ROOT / ".github/workflows/wheel.yml").read_text()
    assert right in text
    (tmp_path / "wheel.yml").write_text(text.replace(right, wrong, 1))
    done = linted(tmp_path / "wheel.yml")
    assert done.returncode == 1
    assert said in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_they_call_is_here(path: Path) -> None:
    called = []
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    for job in jobs.values():
        for step in job["steps"]:
            called += re.findall(r"\bbash (\S+)", step.get("run", ""))
    assert called
    for script in called:
        assert (ROOT / script).is_file(), script


def test_the_compose_file_is_in_shape(tmp_path: Path) -> None:
    right = ROOT / "deploy/compose.yaml"
    done = in_shape("vendor.compose-spec", right)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(right.read_text().replace("stop_grace_period", "stop_grace"))
    assert in_shape("vendor.compose-spec", wrong).returncode == 1
