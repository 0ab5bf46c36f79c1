"""Small trainings that each rank runs on its share, and one process on the whole."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.compiling import Compiled
from minidl.distributed import GradientSum, World
from minidl.nn.functional import cross_entropy

STEPS = 100
#: Global batches in turn: an even one, one that four ranks share unevenly.
SIZES = (12, 7)


def mlp() -> nn.Module:
    rng = np.random.default_rng(1)
    return nn.Sequential(
        *(nn.Linear(6, 9, rng=rng), nn.Tanh(), nn.Linear(9, 9, rng=rng), nn.ReLU()),
        nn.Linear(9, 4, rng=rng),
    )


def cnn() -> nn.Module:
    # No bias before a normalization, which takes it out again: its gradient is rounding alone, and
    # Adam makes steps of that.
    rng = np.random.default_rng(2)
    model = nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(3), nn.ReLU()),
        *(nn.Conv2d(3, 4, 2, bias=False, rng=rng), nn.BatchNorm2d(4, momentum=None)),
        *(nn.Flatten(), nn.Linear(24, 4, rng=rng)),
    )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.lstm = nn.LSTM(3, 5, batch_first=True, rng=rng)
        self.head = nn.Linear(5, 4, rng=rng)
        self.unused = nn.Linear(2, 2, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


MODELS = {"mlp": (mlp, (6,)), "cnn": (cnn, (2, 4, 3)), "lstm": (Recurrent, (4, 3))}

OPTIMIZERS: dict[str, Any] = {
    "AdamW": lambda p: optim.AdamW(p, lr=2e-3, weight_decay=0.1),
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "LAMB": lambda p: optim.LAMB(p, lr=1e-2),
    "groups": lambda p: optim.RMSprop([{"params": p[:2]}, {"params": p[2:], "lr": 1e-3}]),
}


def train(
    world: World | None,
    model: str,
    *,
    optimizer: str = "AdamW",
    compiled: bool = False,
    overlap: bool = True,
    accumulate: int = 1,
    clip: float | None = None,
    sizes: tuple[int, ...] = SIZES,
    bucket_bytes: int = 300,
    freeze: int | None = None,
    steps: int = STEPS,
) -> dict[str, Any]:
    """Train on shares of the batches, ``accumulate`` of which make a step; return what came out.

    Without a world nothing of `minidl.distributed` has part in it: that is what the others are held
    against.
    """
    make, shape = MODELS[model]
    net = make().double()
    taker = OPTIMIZERS[optimizer](list(net.parameters()))
    rank, size_of_world = (0, 1) if world is None else (world.rank, world.size)
    sums: Any = nullcontext()
    if world is not None:
        sums = GradientSum(world, taker, overlap=overlap, bucket_bytes=bucket_bytes)
    losses: list[float] = []

    def gradients(x: Any, y: Any, share: float) -> Any:
        loss = cross_entropy(net(x), y, reduction="sum") * share
        loss.backward()
        return loss

    def last(x: Any, y: Any, share: float, alone: bool) -> Any:
        if alone:
            taker.zero_grad()
        with sums:
            loss = gradients(x, y, share)
        if clip is not None:
            optim.clip_grad_norm_(net.parameters(), clip)
        taker.step()
        return loss

    first = minidl.compile(gradients, strict=True) if compiled else gradients
    whole = minidl.compile(last, strict=True) if compiled else last
    rng = np.random.default_rng(4)
    for step in range(steps):
        if freeze is not None and step in (steps // 3, steps // 2):
            list(net.parameters())[freeze].requires_grad_(step != steps // 3)
        batches = [sizes[(step + n) % len(sizes)] for n in range(accumulate)]
        share = 1.0 / sum(batches)
        if accumulate > 1:
            taker.zero_grad()
        total = 0.0
        for number, size in enumerate(batches):
            x = rng.standard_normal((size, *shape))
            y = rng.integers(0, 4, size)
            mine = np.array_split(np.arange(size), size_of_world)[rank]
            final = number == accumulate - 1
            if not len(mine) and model != "cnn":  # statistics want every rank
                if final:
                    nothing(sums, taker, net, clip, accumulate == 1)
                continue
            function = whole if final else first
            more = (accumulate == 1,) if final else ()
            total += function(x[mine], y[mine], share, *more).item()
        losses.append(total if world is None else float(world.sum(np.array(total))))
    programs = len(whole.programs) if isinstance(whole, Compiled) else 0
    result = {
        "state": {name: np.asarray(t.numpy()).tolist() for name, t in net.state_dict().items()},
        "losses": losses,
        "steps": [part.steps for parts in taker._flat for part in parts],
        "programs": programs,
    }
    if world is None:
        return result
    return result | {
        "buckets": len(sums.buckets),
        "traffic": [sums.traffic.steps, sums.traffic.messages, sums.traffic.bytes],
        "last": [[sent.bytes, sent.done - sent.started] for sent in sums.traffic.last],
        "waited": sums.traffic.waited,
    }


def nothing(sums: GradientSum, taker: Any, net: nn.Module, clip: float | None, alone: bool) -> None:
    """Take the step of a rank that has no sample of the last batch."""
    if alone:
        taker.zero_grad()
    with sums:
        pass
    if clip is not None:
        optim.clip_grad_norm_(net.parameters(), clip)
    taker.step()


def several(world: World, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run several trainings one after the other."""
    return [train(world, **case) for case in cases]
