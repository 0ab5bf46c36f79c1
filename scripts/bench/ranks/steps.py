"""Training steps of several ranks, measured by the ranks themselves; the first rank prints JSON.

    python -m ranks.steps --cases mlp,cnn --batches 128,64 --parts
    mpiexec -n 2 python -m ranks.steps --cases cnn --batches 64,128 --overlap on,off

A step is what the trainer's is: forward, loss, backward with the gradients summed over ranks,
update; recorded by `minidl.compile`. Models and batches are those of `peers.cases`. With
``--parts`` the passes and the update are timed one by one, and nothing is summed, even if there are
several ranks: so much they take beside each other without a word.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.cases import LR, Case, batches
from peers.minidl_peer import build, settle

import minidl
from minidl import distributed, nn, optim

WARM_UP = 5
#: What the first host has put on the cable between two hosts (`ranks.hosts`); not there on one.
ON_THE_CABLE = Path("/sys/class/net/cable/statistics/tx_bytes")


def prepared(model: str, batch: int) -> tuple[Any, Any, list[Any]]:
    """Return model, optimizer and batches of a case."""
    made = build(model)
    optimizer = optim.Adam(made.parameters(), lr=LR)
    return made, optimizer, batches(Case(f"{model}-{batch}", "train", model, batch, 1.0))


def repeated(world: Any, seconds: float, take: Callable[[int], Any], least: int) -> list[Any]:
    """Take steps for about so many seconds, the same number on every rank; return their results."""
    for i in range(WARM_UP):
        take(i)
    world.barrier()
    began = time.perf_counter()
    for i in range(3):
        take(i)
    once = world.broadcast((time.perf_counter() - began) / 3)
    count = max(least, min(400, int(seconds / once)))
    world.barrier()
    return [take(i) for i in range(count)]


def parts(world: Any, model: str, batch: int, seconds: float) -> dict[str, Any]:
    """Time the passes and the update, with no word between ranks."""
    made, optimizer, data = prepared(model, batch)
    loss_of = nn.CrossEntropyLoss()

    def passes(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(made(x), labels)
        loss.backward()
        return loss

    compiled = minidl.compile(passes)

    def take(i: int) -> tuple[float, float]:
        began = time.perf_counter()
        compiled(*data[i % len(data)]).item()
        middle = time.perf_counter()
        optimizer.step()
        return middle - began, time.perf_counter() - middle

    taken = repeated(world, seconds, take, 10)
    medians = [statistics.median(each) for each in zip(*taken, strict=True)]
    slowest = [max(each) for each in zip(*world.gather(medians), strict=True)]
    return {"passes": slowest[0], "update": slowest[1], "steps": len(taken)}


def summed(world: Any, model: str, batch: int, overlap: bool, seconds: float) -> dict[str, Any]:
    """Time whole steps, and what the ranks say to each other in them."""
    made, optimizer, data = prepared(model, batch)
    loss_of = nn.CrossEntropyLoss()
    gradients = distributed.GradientSum(world, optimizer, overlap=overlap)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(made(x), labels) / world.size
        with gradients:
            loss.backward()
        optimizer.step()
        return loss

    compiled = minidl.compile(step)
    traffic = gradients.traffic

    def take(i: int) -> dict[str, Any]:
        waited, began = traffic.waited, time.perf_counter()
        compiled(*data[i % len(data)]).item()
        took = time.perf_counter() - began
        sent = [(m.bytes, m.started - began, m.done - began) for m in traffic.last]
        return {"step": took, "waited": traffic.waited - waited, "sent": sent}

    counted: list[int] = []

    def counting(i: int) -> dict[str, Any]:
        if ON_THE_CABLE.exists():
            counted.append(int(ON_THE_CABLE.read_text()))
        return take(i)

    taken = repeated(world, seconds, counting, 10)
    medians = {key: statistics.median(one[key] for one in taken) for key in ("step", "waited")}
    gathered = world.gather(medians)
    messages = [
        {
            "bytes": each[0][0],
            "started": statistics.median(one[1] for one in each),
            "done": statistics.median(one[2] for one in each),
        }
        for each in zip(*(one["sent"] for one in taken), strict=True)
    ]
    found = {key: max(one[key] for one in gathered) for key in medians}
    steps = counted[-len(taken) :]
    if len(steps) > 1:
        found["cable"] = (steps[-1] - steps[0]) / (len(steps) - 1)
    return {**found, "messages": messages, "steps": len(taken)}


def listed(text: str) -> list[str]:
    """Take a list apart."""
    return [part for part in text.split(",") if part]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=listed, default=["mlp", "cnn"])
    parser.add_argument("--batches", type=listed, default=["128"], help="samples of each rank")
    parser.add_argument("--overlap", type=listed, default=["on", "off"])
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--seconds", type=float, default=2.0, help="for one setting")
    settings = parser.parse_args()
    settle()
    rows = []
    with distributed.join() as world:
        for model in settings.cases:
            for batch in map(int, settings.batches):
                about = {"case": model, "batch": batch}
                if settings.parts:
                    rows.append(about | parts(world, model, batch, settings.seconds))
                    continue
                for overlap in settings.overlap:
                    found = summed(world, model, batch, overlap == "on", settings.seconds)
                    rows.append(about | {"overlap": overlap == "on"} | found)
        if world.rank == 0:
            print(json.dumps({"ranks": world.size, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
