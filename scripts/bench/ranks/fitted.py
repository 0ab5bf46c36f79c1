"""From what was measured to the model's numbers, and from these to predictions.

Nothing that is predicted goes in: links come from exchanges of two ranks, compute from one rank
alone and from ranks beside each other that say nothing, the moments at which buckets are ready from
one run on one host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minidl.distributed.cost_model import (
    Bucket,
    Cluster,
    Link,
    Prediction,
    Work,
    fit_line,
    predict,
)

Results = dict[str, Any]
Row = dict[str, Any]

#: The network without a cable, and the one whose cable is as fast as a core can be.
ONE_HOST, UNLIMITED = "one host", "two hosts, no limit"


def link(results: Results, network: str) -> Link:
    """Fit latency and bandwidth of a network between its two first ranks."""
    bandwidth = _line(results, network)[1]
    # Where nothing but cores carries messages, their speed is the cores'.
    cores = _line(results, ONE_HOST if network == ONE_HOST else UNLIMITED)[1]
    return Link(
        latency=_line(results, network)[0], bandwidth=bandwidth, handling=max(cores, bandwidth)
    )


def _line(results: Results, network: str) -> tuple[float, float]:
    rows = results["networks"][network]["probe"]["exchanges"]
    latency, each = fit_line([row["bytes"] for row in rows], [row["seconds"] for row in rows])
    return latency, 1 / each


def adding(results: Results) -> float:
    """Bytes a second at which MPI adds vectors."""
    return float(results["networks"][ONE_HOST]["probe"]["adding"])


def _parts(rows: list[Row], case: str, batch: int) -> Row:
    (found,) = (row for row in rows if row["case"] == case and row["batch"] == batch)
    return found


def slowdown(results: Results, case: str, ranks: int) -> float:
    """How much longer a rank computes than alone, with so many on the machine.

    As many as there are cores: measured. More share the cores evenly.
    """
    beside = results["beside"]
    (batch,) = {row["batch"] for row in beside if row["case"] == case}
    with_others = _parts(beside, case, batch)["passes"]
    alone = _parts(results["alone"], case, batch)["passes"]
    return max(1.0, with_others / alone) * max(1.0, ranks / results["cores"])


def work(results: Results, case: str) -> Work:
    """Fit what a rank does in a step."""
    alone = [row for row in results["alone"] if row["case"] == case]
    fixed, per_sample = fit_line([row["batch"] for row in alone], [row["passes"] for row in alone])
    return Work(
        fixed=fixed,
        per_sample=per_sample,
        update=sum(row["update"] for row in alone) / len(alone),
        buckets=tuple(_buckets(results, case)),
    )


def _buckets(results: Results, case: str) -> list[Bucket]:
    steps = results["networks"][ONE_HOST]["steps"]
    ranks = min(steps, key=int)
    (row, *_) = (row for row in steps[ranks] if row["case"] == case and row["overlap"])
    messages = row["messages"]
    # The last message, of a few numbers, goes out where the passes end.
    end = messages[-1]["started"]
    return [Bucket(sent["bytes"], min(1.0, sent["started"] / end)) for sent in messages]


def cluster(results: Results, network: str, case: str, ranks: int) -> Cluster:
    """Return the machine on which the steps were measured."""
    settings: dict[str, Any] = {
        "inside": link(results, ONE_HOST),
        "adding": adding(results),
        "slowdown": slowdown(results, case, ranks),
    }
    if network == ONE_HOST:
        return Cluster(hosts=1, ranks_per_host=ranks, **settings)
    return Cluster(hosts=2, ranks_per_host=ranks // 2, between=link(results, network), **settings)


class Checked(NamedTuple):
    """A measured step and its prediction."""

    network: str
    ranks: int
    row: Row
    predicted: Prediction

    @property
    def error(self) -> float:
        """The prediction over what was measured, less 1."""
        return self.predicted.step / float(self.row["step"]) - 1


def checked(results: Results) -> list[Checked]:
    """Predict every step that was measured."""
    found = []
    for network, about in results["networks"].items():
        for ranks, rows in about["steps"].items():
            for row in rows:
                where = cluster(results, network, row["case"], int(ranks))
                model = work(results, row["case"])
                step = predict(model, row["batch"], where, overlap=row["overlap"])
                found.append(Checked(network, int(ranks), row, step))
    return found


def alone_seconds(results: Results, case: str, batch: int) -> float:
    """Seconds of a whole step of one rank, measured."""
    row = _parts(results["alone"], case, batch)
    return float(row["passes"] + row["update"])


#: Networks that nobody measured here, by their nominal bandwidth and a latency that such networks
#: are known for: put in your own.
ASSUMED = {
    "10 Gbit/s, 30 µs (assumed)": Link(latency=30e-6, bandwidth=1.25e9),
    "100 Gbit/s, 3 µs (assumed)": Link(latency=3e-6, bandwidth=12.5e9),
}
MANY = (8, 16, 32, 64, 128, 256, 512, 1024)


def many(results: Results, case: str, between: Link, hosts: int, batch: float) -> dict[bool, float]:
    """Predict a step on many hosts with a rank and a spare core each; by overlap."""
    where = Cluster(hosts=hosts, between=between, adding=adding(results), spare_cores=True)
    model = work(results, case)
    return {
        overlap: predict(model, batch, where, overlap=overlap).step for overlap in (True, False)
    }
