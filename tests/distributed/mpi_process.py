"""Several ranks as users start them: a process each, by ``mpiexec``, or a test that skips.

A test module that uses these fixtures says ``pytest_plugins = ["mpi_process"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)

Run as a script
this file is what each rank runs: it calls a function of a test's module in its world, and rank 0
writes down what each rank's call returned.

What is checked together is best checked in one call: a rank takes half a second to start.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Ranks = Callable[..., list[Any]]


def launcher() -> str:
    """The ``mpiexec`` of this environment; where there is none, or no mpi4py, the test skips."""
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed (pip install 'minidl[mpi]')")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("there is no mpiexec (pip install 'minidl[mpi]')")
    return found


def environment(**more: str) -> dict[str, str]:
    """What ranks see: this minidl, the test directories, one BLAS thread, no launcher around."""
    odd = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "SLURM_")
    paths = [ROOT, *(ROOT / "tests" / name for name in ("", "train", "cli", "distributed"))]
    path = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(odd)}
    # Warnings are errors here as they are in the tests themselves.
    return kept | {
        **{"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        **more,
    }


@contextlib.contextmanager
def started(count: int, *command: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """``mpiexec -n COUNT COMMAND`` as it runs; what is left of it at the end is killed."""
    import psutil

    folder = tempfile.TemporaryDirectory()  # where mpiexec leaves files if it is killed
    process = subprocess.Popen(
        [launcher(), "-n", str(count), *command],
        **{"env": environment(TMPDIR=folder.name, **more), "stdin": subprocess.DEVNULL},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"},
        text=True,
    )
    try:
        yield process
    finally:
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.poll() is None:
                family = [*psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        if process.poll() is None:
            process.kill()
        process.communicate()
        folder.cleanup()


def run_ranks(
    count: int, *command: str, timeout: float = 240.0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``mpiexec -n COUNT COMMAND`` to its end."""
    with started(count, *command, **more) as process:
        out, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    """Call ``module:function`` as ``function(world, *arguments)`` in each of ``count`` ranks.

    Arguments and results are what JSON can say; the results are returned in the ranks' order.
    """

    def call(count: int, function: str, *arguments: Any, **more: str) -> list[Any]:
        answers = tmp_path / "answers.json"
        answers.unlink(missing_ok=True)
        command = [sys.executable, __file__, str(answers), function, json.dumps(arguments)]
        done = run_ranks(count, *command, **more)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        results: list[Any] = json.loads(answers.read_text())
        return results

    return call


def main(answers: str, name: str, arguments: str) -> None:
    """Be one rank."""
    from minidl import distributed

    with distributed.join() as world:
        module, _, function = name.partition(":")
        result = getattr(importlib.import_module(module), function)(world, *json.loads(arguments))
        results = world.gather(result)
        if world.rank == 0:
            Path(answers).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
