"""How long a data-parallel step takes: latency, bandwidth, compute.

Three steps. A message of ``n`` bytes takes ``α + n β``, a latency and a time for each byte (Hockney
1994). A sum over ranks is so many messages one after the other, by MPI's algorithm (Thakur,
Rabenseifner and Gropp 2005). A training step is a forward and a backward pass, during which buckets
of gradients become ready; each is summed as soon as it is ready and the one before it is through
(Li et al. 2020), or, without overlap, after the backward pass.

The numbers that go in are measured on few ranks (`scripts/bench/scaling.py`, docs/scaling.md), or
are those of a machine that one thinks of buying.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

Algorithm = Literal["doubling", "halving", "ring"]

#: Bytes up to which MPICH sums by sending the whole vector each time, and up to which it broadcasts
#: the whole (MPIR_CVAR_ALLREDUCE_SHORT_MSG_SIZE and MPIR_CVAR_BCAST_SHORT_MSG_SIZE).
SHORT_SUM, SHORT_BROADCAST = 2048, 12288


@dataclass(frozen=True, kw_only=True)
class Link:
    """What carries messages between two ranks.

    Parameters
    ----------
    latency
        Seconds until a message of no bytes is there: α.
    bandwidth
        Bytes a second, each way at the same time: 1/β.
    handling
        Bytes a second that a core can hand to the link or take from it; the share ``bandwidth /
        handling`` of a message's time is work of a core. ``inf``: the link needs no core.
    """

    latency: float
    bandwidth: float
    handling: float = math.inf

    def __post_init__(self) -> None:
        if not (0 <= self.latency < math.inf):
            raise ValueError(f"Link: latency is seconds from 0 up, got {self.latency}")
        if not (self.bandwidth > 0 and self.handling > 0):
            raise ValueError(
                "Link: bandwidth and handling are more than 0 bytes a second, "
                f"got {self.bandwidth} and {self.handling}"
            )

    def seconds(self, nbytes: float) -> float:
        """Return what a message of so many bytes takes."""
        return self.latency + nbytes / self.bandwidth

    @property
    def busy(self) -> float:
        """The share of a message's time in which it has a core work, 0 to 1."""
        return min(1.0, self.bandwidth / self.handling)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Hosts alike, ranks on them, and what joins them.

    Parameters
    ----------
    hosts, ranks_per_host
        How many.
    between, inside
        The links between hosts and inside one; each is wanted where there is more than one of what
        it joins. The ranks of a host share its link to the others.
    adding
        Bytes a second at which a rank adds a vector to another: 1/γ.
    slowdown
        How many times longer a rank computes than it does alone on an idle machine: ranks over
        cores where ranks share cores, and what they lose by sharing caches and memory.
    spare_cores
        Whether a core is free for communication while another computes. Without, what a link has a
        core do (`Link.handling`) is taken from the computation.
    """

    hosts: int
    between: Link | None = None
    ranks_per_host: int = 1
    inside: Link | None = None
    adding: float = math.inf
    slowdown: float = 1.0
    spare_cores: bool = False

    def __post_init__(self) -> None:
        if self.hosts < 1 or self.ranks_per_host < 1:
            raise ValueError(
                f"Cluster: at least 1 host and 1 rank on it, got {self.hosts} and "
                f"{self.ranks_per_host}"
            )
        if self.hosts > 1 and self.between is None:
            raise ValueError(f"Cluster: {self.hosts} hosts want a link between them")
        if self.ranks_per_host > 1 and self.inside is None:
            raise ValueError(f"Cluster: {self.ranks_per_host} ranks on a host want a link inside")
        if not (self.adding > 0 and self.slowdown >= 1):
            raise ValueError(
                f"Cluster: adding is more than 0 and slowdown at least 1, got {self.adding} and "
                f"{self.slowdown}"
            )

    @property
    def ranks(self) -> int:
        """All ranks."""
        return self.hosts * self.ranks_per_host

    @property
    def slowest(self) -> Link | None:
        """The link that a sum waits for."""
        return self.between if self.hosts > 1 else self.inside


def allreduce_seconds(
    nbytes: float,
    ranks: int,
    link: Link,
    *,
    adding: float = math.inf,
    algorithm: Algorithm | None = None,
) -> float:
    """Return what the sum of a vector over ranks takes, if all begin at once.

    With ``p`` ranks and ``n`` bytes, by Thakur, Rabenseifner and Gropp (2005, section 4):

    - ``doubling`` (recursive doubling): ``lg p (α + n β + n γ)``
    - ``halving`` (Rabenseifner: recursive halving, then doubling):
      ``2 lg p α + 2 (p-1)/p n β + (p-1)/p n γ``
    - ``ring``: ``2 (p-1) α + 2 (p-1)/p n β + (p-1)/p n γ``

    Where ``p`` is no power of two, the first two give the ranks above one a partner that sends its
    vector before and gets the sum afterwards: ``2 α + 2 n β + n γ`` more.

    Parameters
    ----------
    nbytes, ranks, link
        ``n``, ``p``, and α and β.
    adding
        Bytes a second, ``1/γ``.
    algorithm
        By default MPICH's choice: ``doubling`` up to 2,048 bytes, ``halving`` above.

    Examples
    --------
    >>> gigabit = Link(latency=50e-6, bandwidth=125e6)
    >>> round(allreduce_seconds(1e6, 2, gigabit) * 1e3, 2)  # ms: 2 x 50 µs and 1 MB
    8.1
    >>> round(allreduce_seconds(1e6, 64, gigabit) * 1e3, 2)
    16.35
    >>> round(allreduce_seconds(1e6, 64, gigabit, algorithm="ring") * 1e3, 2)
    22.05
    """
    if ranks < 1 or nbytes < 0:
        raise ValueError(f"allreduce: {nbytes} bytes over {ranks} ranks")
    if ranks == 1:
        return 0.0
    if algorithm is None:
        algorithm = "doubling" if nbytes <= SHORT_SUM else "halving"
    latency, move, add = link.latency, nbytes / link.bandwidth, nbytes / adding
    if algorithm == "ring":
        return 2 * (ranks - 1) * latency + (ranks - 1) / ranks * (2 * move + add)
    if algorithm not in get_args(Algorithm):
        raise ValueError(f"allreduce: algorithm {algorithm!r} is none of {get_args(Algorithm)}")
    rounds = ranks.bit_length() - 1
    power = 1 << rounds
    partners = 2 * latency + 2 * move + add if ranks > power else 0.0
    if algorithm == "doubling":
        return partners + rounds * (latency + move + add)
    return partners + 2 * rounds * latency + (power - 1) / power * (2 * move + add)


def sum_seconds(nbytes: float, cluster: Cluster) -> float:
    """Return what a sum over all ranks takes as MPICH does it: inside hosts, between them, inside.

    With several ranks on several hosts it is a reduction to one rank of each host, a sum over
    these, and a broadcast inside each host. The reduction costs what `allreduce_seconds` says for
    its ranks; the broadcast ``lg r (α + n β)``, from 12 kB on ``(lg r + r - 1) α + 2 (r-1)/r n β``
    (Thakur et al. 2005, section 4.3).
    """
    count, inside = cluster.ranks_per_host, cluster.inside
    if cluster.hosts == 1:
        return (
            0.0
            if inside is None
            else allreduce_seconds(nbytes, count, inside, adding=cluster.adding)
        )
    assert cluster.between is not None
    total = allreduce_seconds(nbytes, cluster.hosts, cluster.between, adding=cluster.adding)
    if count > 1:
        assert inside is not None
        total += allreduce_seconds(nbytes, count, inside, adding=cluster.adding)
        rounds = math.ceil(math.log2(count))
        if nbytes <= SHORT_BROADCAST:
            total += rounds * inside.seconds(nbytes)
        else:
            share = (count - 1) / count
            total += (rounds + count - 1) * inside.latency + 2 * share * nbytes / inside.bandwidth
    return total


class Bucket(NamedTuple):
    """Gradients that are summed together.

    ``ready`` says after which share of the forward and backward pass they are there, 0 to 1.
    """

    nbytes: float
    ready: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one rank does in a step, alone on an idle machine.

    Parameters
    ----------
    fixed, per_sample
        Seconds of a forward and backward pass: ``fixed + batch * per_sample``.
    update
        Seconds of the optimizer's update, whatever the batch.
    buckets
        In the order in which they are summed.
    """

    fixed: float
    per_sample: float
    update: float
    buckets: tuple[Bucket, ...]

    def passes(self, batch: float) -> float:
        """Return the seconds of the forward and backward pass of a batch."""
        return self.fixed + batch * self.per_sample

    @property
    def nbytes(self) -> float:
        """Bytes of all gradients."""
        return sum(bucket.nbytes for bucket in self.buckets)


class Prediction(NamedTuple):
    """Seconds of a step, and of what it consists.

    ``exposed`` is the part of the communication during which the rank does nothing else.
    """

    step: float
    compute: float
    communication: float
    exposed: float


def predict(work: Work, batch: float, cluster: Cluster, *, overlap: bool = True) -> Prediction:
    """Return how long a step takes in which each rank has ``batch`` samples.

    With overlap, bucket ``i`` begins at ``max(ready_i, end_{i-1})`` and takes what `sum_seconds`
    says. Where no core is spare, the share `Link.busy` of that time delays the passes.

    Examples
    --------
    >>> work = Work(fixed=0.001, per_sample=0.5e-3, update=0.001,
    ...             buckets=(Bucket(1.6e6, 0.5), Bucket(0.1e6, 1.0)))
    >>> gigabit = Link(latency=50e-6, bandwidth=125e6)
    >>> cluster = Cluster(hosts=8, between=gigabit, spare_cores=True)
    >>> for overlap in (False, True):
    ...     print(round(predict(work, 128, cluster, overlap=overlap).step * 1e3, 1))  # ms
    90.4
    67.7
    """
    passes = work.passes(batch) * cluster.slowdown
    update = work.update * cluster.slowdown
    each = [sum_seconds(bucket.nbytes, cluster) for bucket in work.buckets]
    communication = sum(each)
    if cluster.ranks == 1 or not overlap:
        step = passes + communication + update
        return Prediction(step, passes + update, communication, communication)
    link = cluster.slowest
    busy = 0.0 if cluster.spare_cores or link is None else link.busy
    end = taken = 0.0
    for bucket, seconds in zip(work.buckets, each, strict=True):
        end = max(end, bucket.ready * passes + taken) + seconds
        taken += busy * seconds
    step = max(end, passes + taken) + update
    compute = passes + update
    return Prediction(step, compute, communication, step - compute)


def fit_line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the constant and the slope of ``seconds ≈ constant + slope * size``, neither below 0.

    Least squares of the relative errors, so that a small message counts as much as a large one.

    Raises
    ------
    ValueError
        Fewer than two different sizes, or seconds that are not above 0.

    Examples
    --------
    >>> constant, slope = fit_line([0, 1000, 2000], [1.0, 2.0, 3.0])
    >>> round(constant, 9), round(slope, 9)
    (1.0, 0.001)
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(seconds, np.float64)
    if x.shape != y.shape or len(set(x.tolist())) < 2 or not (y > 0).all():
        raise ValueError(
            f"fit_line: seconds above 0 for at least two sizes are wanted, got {y.tolist()} for "
            f"{x.tolist()}"
        )
    columns = np.stack([1 / y, x / y], axis=1)
    widths = np.linalg.norm(columns, axis=0)  # one is some 1e9 times the other
    constant, slope = np.linalg.lstsq(columns / widths, np.ones_like(y), rcond=None)[0] / widths
    if slope < 0:  # as good as it gets with a slope of 0, and likewise with a constant of 0
        constant, slope = columns[:, 0].sum() / widths[0] ** 2, 0.0
    elif constant < 0:
        constant, slope = 0.0, columns[:, 1].sum() / widths[1] ** 2
    return float(constant), float(slope)
