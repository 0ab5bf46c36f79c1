"""Whether a training can take the batches that its data are cut into, on all of its ranks.

The last batch of an epoch is often a small one, and ranks share each batch: what a layer such as
batch normalization sees may be a single sample, and that is better said before the training.
"""

from __future__ import annotations

import copy

import numpy as np

from minidl.autograd import no_grad
from minidl.data.loader import share_of
from minidl.distributed import World
from minidl.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d, Module, SyncBatchNorm
from minidl.tensor import Tensor
from minidl.train.config import Config
from minidl.train.data_parts import Data
from minidl.train.tasks import Task


def check_ranks(config: Config, task: Task, model: Module, data: Data, world: World) -> None:
    """Hold that the training is one that several ranks can share."""
    if world.size == 1:
        return
    started = f"this training was started as {world.size} ranks"
    if config.device != "cpu":
        raise config.problem(
            ("device",), f"{started}, which train on the CPU, got {config.device!r}", "use cpu"
        )
    if not task.accumulates:  # gradients of parts of a batch make no step of it
        raise config.problem(
            ("task",),
            f"{type(task).__name__} takes its steps by itself, and {started}",
            "train it in one process, without mpiexec",
        )
    smallest = _smallest_batch(data)
    if smallest < world.size and _will_synchronize(config, model):
        raise config.problem(
            ("data", "batch_size"),
            f"{started}; of {len(data.train.dataset):,} training samples, batches of "
            f"{data.train.batch_size} leave one with {smallest}, and a rank without a sample takes "
            "no part in synchronized batch normalization",
            "choose another `batch_size`, set `drop_last: true`, or start fewer ranks",
        )


def synchronizes(model: Module) -> bool:
    """Whether the model normalizes batches by the statistics of all ranks."""
    return any(isinstance(module, SyncBatchNorm) for module in model.modules())


def _will_synchronize(config: Config, model: Module) -> bool:
    """Whether it will do so, once it is as the config wants it."""
    usual = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
    changed = config.trainer.sync_batch_norm and any(isinstance(m, usual) for m in model.modules())
    return changed or synchronizes(model)


def _smallest_batch(data: Data) -> int:
    """Return how many samples the smallest batch of an epoch has: the last one."""
    left_over = len(data.train.dataset) % data.train.batch_size
    return data.train.batch_size if data.train.drop_last or not left_over else left_over


def _smallest_share(config: Config, model: Module, data: Data, world: World) -> int:
    """Return how many samples batch normalization sees at the least, where it sees any."""
    batches = {_smallest_batch(data), min(data.train.batch_size, len(data.train.dataset))}
    if _will_synchronize(config, model):
        return min(batches)
    shares = [
        share_of(count, rank=rank, world=world.size)
        for count in batches
        for rank in range(min(count, world.size))
    ]
    return min(int(share.stop - share.start) for share in shares)


def check_smallest_batch(config: Config, model: Module, data: Data, world: World) -> None:
    """Batch normalization refuses some batches of one sample, which an epoch may end with."""
    if _smallest_share(config, model, data, world) > 1:
        return
    probe = Tensor(np.zeros((1, *data.sample_shape), np.float32))
    try:
        # A copy: a forward pass in training moves running statistics and the generator.
        with no_grad():
            copy.deepcopy(model).train()(probe)
    except ValueError as error:
        raise config.problem(
            ("data", "batch_size"),
            f"of {len(data.train.dataset):,} training samples, batches of {data.train.batch_size} "
            + ("" if world.size == 1 else f"on {world.size} ranks ")
            + f"leave one with a single sample, which the model cannot be trained on: {error}",
            "choose another `batch_size`, or set `drop_last: true`",
        ) from error
