"""Where a run took place, as far as it can be told."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.train import environment

git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def _git(directory: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", "-C", str(directory), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "-m", "first")
    return tmp_path


@git
def test_the_commit(repository: Path) -> None:
    commit = _git(repository, "rev-parse", "HEAD")
    assert environment.git_commit(repository) == commit
    (repository / "untracked").write_text("does not count")
    assert environment.git_commit(repository) == commit
    (repository / "file").write_text("two")
    assert environment.git_commit(repository) == f"{commit}+changes"
    inner = repository / "inner"
    inner.mkdir()
    assert environment.git_commit(inner) == f"{commit}+changes"


@git
def test_the_index_of_the_user_is_not_written(repository: Path) -> None:
    index = repository / ".git" / "index"
    (repository / "file").touch()  # what `git status` would refresh
    before = index.stat().st_mtime_ns, index.read_bytes()
    environment.git_commit(repository)
    assert (index.stat().st_mtime_ns, index.read_bytes()) == before


@git
def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    assert environment.git_commit(tmp_path) is None


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_commit(tmp_path) is None


def test_a_git_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("git", 5)

    monkeypatch.setattr(subprocess, "run", slow)
    assert environment.git_commit(tmp_path) is None


def test_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "git_commit", lambda directory: None)
    found = environment.describe()
    assert found["minidl.version"] == minidl.__version__
    assert found["numpy.version"] == np.__version__
    assert found["python.version"] == platform.python_version()
    assert int(found["cpus"]) >= 1
    assert found["blas"].strip()
    assert "git.commit" not in found
    assert all(isinstance(value, str) for value in found.values())
    monkeypatch.setattr(environment, "git_commit", lambda directory: f"abc {directory.name}")
    assert environment.describe()["git.commit"] == f"abc {tmp_path.name}"
