"""What started this process: an MPI launcher that runs it as one rank of several, or nobody.

Launchers tell each process its rank by environment variables, so that a process which was started
alone is known to be alone without asking MPI, whose library it may not even have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple


class LaunchError(RuntimeError):
    """The process was started as one of several, and cannot join the others; the message says why.

    It is also raised where the ranks do not fit each other.
    """


class Launch(NamedTuple):
    """One process of several, as its launcher says.

    ``size`` is None where the launcher leaves it to MPI to say; ``local_rank`` and ``local_size``
    count the processes on this machine (the whole where the launcher does not say).
    """

    rank: int
    size: int | None
    local_rank: int
    local_size: int | None
    variable: str


#: Variables of rank, size, rank and size on this machine. Hydra (MPICH, Intel MPI; also what Slurm
#: sets with ``srun --mpi=pmi2``), Open MPI, Cray's PALS, and PMIx, which says the rank alone.
_LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    (
        *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        *("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ),
    ("PALS_RANKID", "PALS_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return what the launcher says, or None for a process that was started by itself.

    It asks the environment alone: for those who want to know before they join, or do not join.

    Raises
    ------
    LaunchError
        Slurm started several tasks without telling them how to find each other, or a variable is
        no whole number.
    """
    for variable, size, local_rank, local_size in _LAUNCHERS:
        rank = _number(environment, variable)
        if rank is not None:
            total = _number(environment, size)
            return Launch(
                rank,
                total,
                _number(environment, local_rank) or 0,
                # As in "2(x3)", two tasks on each of three machines: then MPI has to say.
                _number(environment, local_size, whole=False) or total,
                variable,
            )
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks != "1":
        # Each would take itself for the only one, and train the whole by itself.
        raise LaunchError(
            f"Slurm started {tasks} tasks, but told this one nothing of MPI; "
            "start them with srun --mpi=pmi2 (or --mpi=pmix), or a single task with srun -n 1"
        )
    return None


def _number(environment: Mapping[str, str], name: str, *, whole: bool = True) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        if not whole:
            return None
        raise LaunchError(f"{name} is to be a whole number, got {text!r}") from None
