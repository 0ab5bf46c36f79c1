"""What the ranks of one training do in common: fail, and begin from the same config and weights.

A rank that is alone in its error would leave the others waiting for it. So what may fail is done
`together`: each tells the others how it went, and where it went wrong on one, all end with the same
status, and one of them says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from minidl.distributed import World
from minidl.nn import Module
from minidl.train.config import Config, config_from_text


class FailedElsewhere(Exception):  # noqa: N818  (the error is another rank's)
    """All ranks end, and another one tells why; ``status`` is the exit status of all."""

    def __init__(self, rank: int, status: int) -> None:
        super().__init__(f"rank {rank} tells why all ranks end with status {status}")
        self.status = status


@contextmanager
def together(world: World) -> Iterator[None]:
    """Do something on every rank, and end on all of them where it fails on one.

    The first rank on which it failed raises its own error.

    Raises
    ------
    FailedElsewhere
        On every other rank.
    """
    if world.size == 1:
        yield
        return
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    # A config or a checkpoint that cannot be used is a ValueError; all else is a run that failed.
    status = 0 if failure is None else 2 if isinstance(failure, ValueError) else 1
    statuses = world.gather(status)
    if not any(statuses):
        return
    first = next(rank for rank, status in enumerate(statuses) if status)
    if failure is not None and first == world.rank:
        raise failure
    raise FailedElsewhere(first, statuses[first])


def shared_config(world: World, load: Callable[[], Config]) -> Config:
    """Return the config that the first rank loads: the others are handed it, and read no file.

    Raises
    ------
    ConfigError
        On the first rank, of a config that cannot be used; on the others `FailedElsewhere`.
    """
    config = None
    with together(world):
        if world.rank == 0:
            config = load()
    text = world.broadcast(None if config is None else config.to_yaml())
    return config_from_text(str(text)) if config is None else config


def share_weights(world: World, model: Module) -> None:
    """Give all ranks the first one's parameters and buffers."""
    if world.size == 1:
        return
    found = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    given = world.broadcast(found if world.rank == 0 else {})
    if world.rank:
        model.load_state_dict(given)


def share_buffers(world: World, model: Module) -> None:
    """Give all ranks the first one's running statistics, which each keeps of its own samples."""
    if world.size == 1:
        return
    buffers = dict(model.named_buffers())
    if not buffers:
        return
    given = world.broadcast({name: b.numpy() for name, b in buffers.items() if world.rank == 0})
    if world.rank:
        for name, buffer in buffers.items():
            buffer.copy_(given[name])
