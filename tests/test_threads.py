"""Threads of BLAS follow the control group's quota, and whoever sets a variable decides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minidl import threads


def group(tmp_path: Path, lines: str, files: dict[str, str]) -> float | None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    groups = tmp_path / "self"
    groups.write_text(lines)
    return threads.cpu_quota(tmp_path / "cgroup", groups)


@pytest.mark.parametrize(
    ("lines", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        # a service of systemd in a slice that is narrower
        ("0::/a.slice/b\n", {"a.slice/cpu.max": "50000 100000", "a.slice/b/cpu.max": "max 1"}, 0.5),
        # the path is the host's, of which the container sees the root alone
        ("0::/docker/1234\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "4:memory:/\n3:cpu,cpuacct:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"},
            4.0,
        ),
        (
            "3:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("nonsense\n", {"cpu.max": "nonsense too"}, None),
    ],
)
def test_quota(tmp_path: Path, lines: str, files: dict[str, str], quota: float | None) -> None:
    assert group(tmp_path, lines, files) == quota


@pytest.mark.parametrize(
    ("before", "quota", "wanted"),
    [
        ({}, 2.0, "2"),
        ({}, 1.9, "1"),
        ({}, 0.3, "1"),
        ({}, None, None),
        ({}, 8.0, None),  # as many as there are
        ({"OMP_NUM_THREADS": "5"}, 2.0, None),
        # beside other ranks of one training
        ({"MPI_LOCALNRANKS": "4"}, None, "2"),
        ({"MPI_LOCALNRANKS": "4"}, 6.0, "1"),
        ({"MPI_LOCALNRANKS": "16"}, None, "1"),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, None, "4"),
        ({"MPI_LOCALNRANKS": "1"}, None, None),
        ({"MPI_LOCALNRANKS": "many"}, None, None),
        ({"MPI_LOCALNRANKS": "4", "OMP_NUM_THREADS": "5"}, None, None),
    ],
)
def test_blas_is_told(
    before: dict[str, str], quota: float | None, wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cpus", lambda: 8)
    environment = dict(before)
    threads.follow_quota(environment, quota)
    if wanted is None:
        assert environment == before
    else:
        assert environment == before | dict.fromkeys(threads.VARIABLES, wanted)


def test_it_is_read_before_numpy_is_there() -> None:
    code = """
import builtins, sys
real, order = builtins.__import__, []
def watched(name, *args, **kwargs):
    if name in ("numpy", "minidl.threads") and name not in order:
        order.append(name)
    return real(name, *args, **kwargs)
builtins.__import__ = watched
import minidl
print(order)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['minidl.threads', 'numpy']\n"


@pytest.mark.parametrize(("given", "wanted"), [(None, "16"), ("9", "9")])
def test_threads_of_blas_rest_soon(given: str | None, wanted: str) -> None:
    variables = {} if given is None else {"OPENBLAS_THREAD_TIMEOUT": given}
    threads.let_rest(variables)
    assert variables == {"OPENBLAS_THREAD_TIMEOUT": wanted}
