"""Where a run took place: versions, commit, machine. Recorded, so that it can be repeated."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import minidl


def describe() -> dict[str, str]:
    """Return versions, the commit of the working directory, CPU count and BLAS, as tags."""
    blas: Any = np.show_config(mode="dicts")
    library = blas["Build Dependencies"]["blas"]
    found = {
        "minidl.version": minidl.__version__,
        "numpy.version": np.__version__,
        "python.version": platform.python_version(),
        "blas": f"{library['name']} {library['version']}",
        "blas.threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"),
        "kernels": kernels(),
        "cpus": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "platform": platform.platform(),
    }
    commit = git_commit(Path.cwd())
    return found | ({"git.commit": commit} if commit else {})


def kernels() -> str:
    """Say which kernels the run may use: ``numpy``, or the mode and numba's version."""
    mode = os.environ.get("MINIDL_KERNELS", "auto")
    try:
        return f"{mode}, numba {version('numba')}" if mode != "numpy" else mode
    except PackageNotFoundError:
        return "numpy"


def git_commit(directory: Path) -> str | None:
    """Return the commit checked out in a directory, with ``+changes`` where files differ."""
    try:
        commit = _git(directory, "rev-parse", "HEAD")
        changed = _git(directory, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None  # no git here, or not a repository: nothing to record
    return commit + ("+changes" if changed else "")


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        # Without its optional locks, `status` would get in the way of the user's own git.
        ["git", "--no-optional-locks", "-C", str(directory), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=5,
    )
    return done.stdout.strip()
