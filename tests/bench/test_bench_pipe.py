"""The pipe between the benchmark and its systems: real workers, and processes that misbehave."""

from __future__ import annotations

import os
import sys

import pytest
from harness.pipe import Pipe, RefusedError
from harness.systems import CHECKOUT, SCRIPTS


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{CHECKOUT}"}


def test_a_worker_answers_and_survives_its_errors():
    command = [sys.executable, "-m", "peers.worker", "minidl"]
    about = {"case": "mlp-1", "variant": "eager"}
    with Pipe(command, env=environment(), patience=60) as pipe:
        assert "minidl" in pipe.ask("hello")["versions"]
        assert "eager" in pipe.ask("variants", case="mlp-1")["variants"]
        with pytest.raises(RefusedError, match="KeyError"):
            pipe.ask("run", steps=1, **about)  # not prepared
        pipe.ask("prepare", **about)
        first, second = (pipe.ask("run", steps=3, **about) for _ in range(2))
        assert len(first["seconds"]) == 3
        assert min(first["seconds"]) > 0
        assert first["results"] != second["results"]  # it goes on where it was
        pipe.ask("prepare", **about)
        assert pipe.ask("run", steps=3, **about)["results"] == first["results"]
        assert pipe.ask("memory")["bytes"] > 1 << 20
        pipe.ask("drop")
        with pytest.raises(RefusedError, match="KeyError"):
            pipe.ask("run", steps=1, **about)
    assert pipe.process.returncode == 0


def test_a_system_that_is_not_installed_says_so():
    command = [sys.executable, "-m", "peers.worker", "nothing"]
    with (
        Pipe(command, env=environment(), patience=60) as pipe,
        pytest.raises(RefusedError, match=r"No module named 'peers\.nothing_peer'"),
    ):
        pipe.ask("hello")


@pytest.mark.parametrize(
    ("code", "patience", "said"),
    [
        ("import time; time.sleep(60)", 0.2, "no answer after 0 s; the process was killed"),
        ("raise SystemExit('out of luck')", 60, "ended with status 1: out of luck"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 60, "status -9: no word"),
    ],
)
def test_a_process_that_does_not_answer(code, patience, said):
    with Pipe([sys.executable, "-c", code], env=dict(os.environ), patience=patience) as pipe:
        with pytest.raises(RefusedError, match=said):
            pipe.ask("hello")
        with pytest.raises(RefusedError):
            pipe.ask("hello")
    assert pipe.process.poll() is not None


def test_one_step_and_the_end():
    import json
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "peers.worker", "minidl", "--one-step", "mlp-1"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0 < json.loads(done.stdout)["result"] < 10
