"""Ranks find each other, agree on sums, and end together however one of them ends."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_process import Ranks, run_ranks

from minidl import distributed
from minidl.distributed.launcher import LaunchError, launched

pytest_plugins = ["mpi_process"]

SCRIPT = Path(__file__).with_name("mpi_process.py")


def test_a_process_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # whoever imports it gets an error
    world = distributed.join()
    assert (world.rank, world.size, world.local_rank, world.local_size) == (0, 1, 0, 1)
    array = np.arange(3.0)
    total = world.sum(array)
    assert total.tolist() == [0.0, 1.0, 2.0]
    assert not np.shares_memory(total, array)
    assert world.broadcast("a") == "a"
    assert world.gather("a") == ["a"]
    world.barrier()
    assert distributed.join() is world is distributed.current()
    with pytest.raises(SystemExit) as caught, world:
        sys.exit(3)
    assert caught.value.code == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # in a batch script, before srun
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4, 0, 4)),
        (
            {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"},
            (2, 4, 0, 2),
        ),
        (
            {
                **{"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"},
                **{"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
            },
            (1, 2, 1, 2),
        ),
        ({"PALS_RANKID": "3", "PALS_SIZE": "8"}, (3, 8, 0, 8)),
        (
            {
                **{"PMIX_RANK": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1"},
                "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
            },
            (5, 6, 1, 6),
        ),
        ({"PMIX_RANK": "5"}, (5, None, 0, None)),
    ],
)
def test_what_launchers_say(
    environment: dict[str, str], expected: tuple[int, int | None, int, int | None] | None
) -> None:
    found = launched(environment)
    assert (found and found[:4]) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PMI_RANK": "two", "PMI_SIZE": "4"}, "PMI_RANK is to be a whole number, got 'two'"),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}, "Slurm started 4 tasks.*--mpi=pmi2"),
    ],
)
def test_a_launch_that_cannot_be_joined(environment: dict[str, str], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        launched(environment)


def test_a_launched_process_without_mpi4py_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("minidl.distributed.world._joined", None)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(LaunchError, match=r"as rank 1 of 4 \(PMI_RANK\).*minidl\[mpi\]"):
        distributed.join()


@pytest.mark.parametrize("count", [1, 3])
def test_what_ranks_say_to_each_other(ranks: Ranks, count: int, tmp_path: Path) -> None:
    total = count * (count + 1) // 2
    for rank, answer in enumerate(ranks(count, "world_checks:everything", str(tmp_path / "heard"))):
        assert answer["rank"] == rank
        assert answer["size"] == count
        assert answer["local"] == [rank, count]
        assert all(value == [[total] * 3] * 2 for value in answer["sums"].values())
        assert answer["large"] == [total, total * 299_999]
        assert answer["strided"] == (count * np.arange(12.0).reshape(3, 4).T).tolist()
        assert (answer["from"], answer["much"]) == (count - 1, 100_000)
        assert answer["gathered"] == ["r" * r for r in range(count)]
        assert answer["before"] == total - count
        assert answer["stacked"] == [[r, 2 * r] for r in range(count)]
        if count > 1:
            assert [text.split()[-1] for text in answer["refused"]] == [
                *("complex128", "bool", "float16")
            ]


def test_sums_have_the_same_bits_on_every_rank_at_every_time(ranks: Ranks) -> None:
    answers = ranks(3, "world_checks:same_bits", PYTHONHASHSEED="0")
    assert len({digest for answer in answers for digest in answer}) == 1


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("kill", 9, "KILLED|Killed"),
        ("raise", 1, "a batch of rank 1 is spoilt"),
        ("exit", 5, "rank 1 of 3 ends with status 5"),
        ("abort", 75, "rank 1 of 3 ends all with status 75"),
        ("all exit", 7, ""),
    ],
)
def test_ranks_end_together(how: str, status: int, said: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "answers"), "world_checks:end", f'["{how}"]']
    done = run_ranks(3, sys.executable, str(SCRIPT), *arguments)
    (shared,) = set(re.findall(r"shares (.*) with", done.stdout))
    assert done.returncode == status, done.stderr
    assert re.search(said, done.stdout + done.stderr)
    assert not (tmp_path / "answers").exists()
    assert shared.startswith("/dev/shm/mpich_shm_")
    assert not Path(shared).exists()
    if how == "all exit":
        assert "BAD TERMINATION" not in done.stdout + done.stderr


def test_who_never_joins_is_not_waited_for_for_ever() -> None:
    program = """
import os, sys
from minidl.distributed import join, mpi
mpi.JOIN_LIMIT = 2.0
if os.environ["PMI_RANK"] == "1":
    sys.exit(4)
join()
"""
    done = run_ranks(2, sys.executable, "-c", program)
    assert done.returncode != 0
    assert "Timeout" in done.stderr
    assert "in join" in done.stderr
