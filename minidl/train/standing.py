"""Where a training stands, as a checkpoint holds it: taken down, and taken up again.

Of several ranks the first one writes and reads the files, and hands what it has read to the others.
Each rank has a generator of its own, whose states are all in the checkpoint. With the same number
of ranks a training goes on bit for bit; with another number it goes on all the same, and ranks that
are new begin with fresh generators.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.optim import ReduceLROnPlateau, Schedule
from minidl.train.build import generator_of
from minidl.train.checkpoint import read_checkpoint, restore_checkpoint
from minidl.train.progress import Progress
from minidl.train.together import together

if TYPE_CHECKING:
    from minidl.train.session import Session


def state_of(session: Session) -> dict[str, Any]:
    """Return, as plain data, where a training stands; every rank calls this at the same point."""
    experiment = session.experiment
    schedule, world = experiment.schedule, experiment.world
    plateau = schedule.state_dict() if isinstance(schedule, ReduceLROnPlateau) else None
    state = {
        **vars(session.progress),
        "whole": session.whole.state_dict(),
        "recent": session.recent.state_dict(),
        "figures": session.figures,
        "plateau": plateau,
        "journal": 0 if session.journal is None else session.journal.count,
        "callbacks": [callback.state_dict() for callback in session.callbacks],
    }
    if world.size > 1:  # the first one's is where that of a training by one process is
        _, *others = world.gather(experiment.rng.bit_generator.state)
        state["generators"] = others
    return state


def load(session: Session, path: Path) -> dict[str, Any]:
    """Put model, optimizer, average and generators where a checkpoint has them; return the rest.

    Raises
    ------
    CheckpointError
        It is damaged, or of another config; nothing has been changed.
    """
    experiment, found = session.experiment, None
    world = experiment.world
    with together(world):
        if world.rank == 0:
            found = read_checkpoint(path)
    manifest, arrays = world.broadcast(found) or ({}, {})
    with together(world):
        restore_checkpoint(
            path,
            manifest,
            arrays,
            model=experiment.model,
            optimizer=experiment.optimizer,
            rng=experiment.rng,
            average=session.stepper.average,
        )
    state: dict[str, Any] = dict(manifest["progress"])
    others = state.pop("generators", [])
    if 0 < world.rank <= len(others):
        experiment.rng.bit_generator.state = others[world.rank - 1]
    elif world.rank:
        fresh = generator_of(session.config, world.rank, step=state["step"])
        experiment.rng.bit_generator.state = fresh.bit_generator.state
    return state


def restore(session: Session, path: Path) -> None:
    """Go to where a checkpoint stands.

    Raises
    ------
    CheckpointError
        It is damaged, or of another config; nothing has been changed.
    """
    state, schedule = load(session, path), session.experiment.schedule
    plateau, callbacks = state.pop("plateau"), state.pop("callbacks")
    del state["journal"]  # the journal was opened with it
    session.whole.load_state_dict(state.pop("whole"))
    session.recent.load_state_dict(state.pop("recent"))
    session.figures = state.pop("figures")
    for callback, kept in zip(session.callbacks, callbacks, strict=True):
        callback.load_state_dict(kept)
    vars(session.progress).update(vars(Progress.restore(state)))
    if isinstance(schedule, Schedule):
        schedule.set_step(session.progress.step)
    elif schedule is not None:
        schedule.load_state_dict(plateau)
