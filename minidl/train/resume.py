"""Taking up a run that was interrupted: its newest whole checkpoint, and what may have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minidl.train import environment
from minidl.train.checkpoint import CheckpointError, checkpoints_in, verify_checkpoint
from minidl.train.journal import read_journal
from minidl.train.run_directory import RunDirectory

#: What may be changed on the command line of a resumed run: where things are, and how long.
CHANGEABLE = (
    *("data.root", "data.prefetch", "tracking"),
    *("trainer.epochs", "trainer.max_steps", "trainer.max_time", "trainer.early_stop"),
)
#: What decides about the last bits of a result.
DECIDES_BITS = (
    "minidl.version",
    "numpy.version",
    "blas",
    "blas.threads",
    "kernels",
    "cpus",
    "ranks",
)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse changes that would make it another training.

    Raises
    ------
    ValueError
        Names the change and those that are possible.
    """
    for override in overrides:
        path = override.lstrip("~+").partition("=")[0].strip()
        if not any(path == allowed or path.startswith(allowed + ".") for allowed in CHANGEABLE):
            raise ValueError(
                f"{override}: a run that is resumed keeps its config; only "
                f"{', '.join(CHANGEABLE)} can be changed. Start a new run for anything else"
            )


def newest_checkpoint(run: RunDirectory, say: Callable[[str], None]) -> tuple[str, int] | None:
    """Find the newest checkpoint that is whole.

    Returns
    -------
    (str, int) or None
        The manifest's name, and how many journal entries the training had written; None where
        there is no checkpoint at all: the run was killed before its first.

    Raises
    ------
    CheckpointError
        There are some, and none is whole.
    """
    if not run.checkpoints.is_dir() or not any(run.checkpoints.glob("*.json")):
        return None
    entries = len(read_journal(run.journal)) if run.journal.exists() else 0
    complaints = [
        f"{path}: damaged"
        for path in sorted(run.checkpoints.glob("*.json"))
        if path not in checkpoints_in(run.checkpoints)
    ]
    for path in checkpoints_in(run.checkpoints):
        try:
            position = int(verify_checkpoint(path)["journal"])
            if position > entries:
                raise CheckpointError(
                    f"{path}: it counts on {position} journal entries, and there are {entries}"
                )
        except CheckpointError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            say(complaint)
        if complaints:
            say(f"going on from the newest checkpoint that is whole, {path}")
        return path.name, position
    raise CheckpointError(
        f"{run.root}: no checkpoint is whole ({'; '.join(complaints)}); train again with "
        f"`minidl train {run.config}`"
    )


def changed_environment(run: RunDirectory, *, ranks: int = 1) -> list[str]:
    """Say what is not as it was when the run began, and may change the last bits of its result.

    Parameters
    ----------
    ranks
        How many train it now.
    """
    facts = run.facts()
    before = {**facts["environment"], "ranks": str(facts.get("ranks", 1))}
    now = environment.describe() | {"ranks": str(ranks)}
    return [
        f"{name} was {before.get(name)}, and is {now.get(name)}"
        for name in DECIDES_BITS
        if before.get(name) != now.get(name)
    ]
