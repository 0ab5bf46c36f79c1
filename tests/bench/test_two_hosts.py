"""Two hosts on this machine: ranks on both, over the cable and not past it, and nothing left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.systems import CHECKOUT, SCRIPTS
from ranks import hosts
from ranks.hosts import Cable, UnavailableError, environment, two_hosts

PAGE = CHECKOUT / "docs" / "scaling.md"

#: Each rank sums a vector over all, sends a byte there and back, and says where it is.
RANK = """
import json, os, sys, time
import numpy as np
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(np.full(100_000, world.rank + 1.0))
other = world.size - 1
began = time.perf_counter()
if world.rank == 0:
    world.send(b"x", other); world.recv(source=other)
elif world.rank == other:
    world.recv(source=0); world.send(b"x", 0)
took = time.perf_counter() - began
place = os.readlink("/proc/self/ns/net")
said = world.gather([world.rank, place, float(total[0]), took])
if world.rank == 0:
    print(json.dumps(said))
"""


def namespaces() -> str:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return listed.stdout


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    pytest.importorskip("mpi4py", reason="two hosts: the extra mpi is not installed")
    why = hosts.lacking()
    if why is not None:
        pytest.skip(f"two hosts: {why}")


@pytest.mark.parametrize(
    ("cable", "ranks"), [(Cable(mbit=500.0), 4), (Cable(delay_ms=20.0), 2)], ids=str
)
def test_ranks_of_two_hosts_sum_over_the_cable(cable, ranks):
    if cable.delay_ms and not Path("/dev/net/tun").exists():
        pytest.skip("a delay wants /dev/net/tun, which is not here")
    with two_hosts(cable) as made:
        done = subprocess.run(
            made.command(ranks, [sys.executable, "-c", RANK]),
            env=environment(), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        # The vector has 800 kB, and half of it is the least that a host has to tell the other.
        assert min(made.sent(), made.received()) > 400_000
    assert [rank for rank, *_ in said] == list(range(ranks))
    assert {total for *_, total, _ in said} == {ranks * (ranks + 1) / 2}
    places = [place for _, place, *_ in said]
    half = ranks // 2
    assert len(set(places)) == 2
    assert len(set(places[:half])) == len(set(places[half:])) == 1
    assert said[0][-1] >= 2 * cable.delay_ms / 1e3  # there and back
    assert not any(name in namespaces() for name in made.names)


def fail_on(made: hosts.Hosts) -> None:
    assert all(name in namespaces() for name in made.names)
    raise ZeroDivisionError(" ".join(made.names))


def test_hosts_go_when_what_is_done_on_them_fails():
    with pytest.raises(ZeroDivisionError) as raised, two_hosts(Cable()) as made:
        fail_on(made)
    assert not any(name in namespaces() for name in str(raised.value).split())


def test_the_command_gives_the_status_of_the_ranks():
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "two_hosts.py"), "--", sys.executable, "-c",
         "import sys; print('here', flush=True); sys.exit(3)"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.count("here") == 2
    assert done.returncode == 3


def test_a_terminated_command_takes_its_hosts_down():
    ready = (
        "import signal, sys; signal.signal(15, lambda *_: sys.exit(75)); print('here', flush=True)"
    )
    ready += "; signal.pause()"
    command = [sys.executable, str(SCRIPTS / "two_hosts.py"), "--", sys.executable, "-c", ready]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert [process.stdout.readline().strip() for _ in range(2)] == ["here", "here"]
            assert f"minidl-{process.pid}-a" in namespaces()
            process.terminate()
            assert process.wait(120) == 75
        finally:
            process.kill()
    assert f"minidl-{process.pid}-" not in namespaces()


def sessions() -> list[tuple[str, str]]:
    """Commands that docs/scaling.md shows, and what it says they print."""
    (block,) = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = []
    for session in block.removeprefix("$ ").split("\n$ "):
        lines = session.splitlines()
        end = 1  # a command goes on while a quote is open, and after a backslash
        while "\n".join(lines[:end]).count('"') % 2 or lines[end - 1].endswith("\\"):
            end += 1
        found.append(("\n".join(lines[:end]), "\n".join(lines[end:])))
    return found


def shape(text: str) -> list[str]:
    """The lines without their numbers, times and padding: those are the machine's."""
    text = re.sub(r"^  time .*$", "  time", text, flags=re.MULTILINE)
    return [" ".join(re.sub(r"\d[\d.,]*", "0", line).split()) for line in text.splitlines()]


@pytest.mark.parametrize(("command", "shown"), sessions(), ids=["sum", "train"])
def test_a_command_of_the_page_prints_what_the_page_shows(command, shown, tmp_path):
    for name in ("scripts/bench", "configs"):
        command = command.replace(f" {name}/", f" {CHECKOUT / name}/")
    command = command.replace(" minidl train ", " python -m minidl train ")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=600,
        cwd=tmp_path, env={**environment(), "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert shape(done.stdout) == shape(shown)


def test_what_cannot_be_is_said(monkeypatch):
    with two_hosts(Cable()) as made, pytest.raises(ValueError, match="even number of ranks, not 3"):
        made.command(3, ["true"])
    monkeypatch.setattr(hosts.os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match="want root"), two_hosts(Cable()):
        pass
