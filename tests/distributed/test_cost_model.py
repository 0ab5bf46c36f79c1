"""The cost model against formulas by hand, simulations of messages, and its own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidl.distributed.cost_model import (
    Bucket,
    Cluster,
    Link,
    Work,
    allreduce_seconds,
    fit_line,
    predict,
    sum_seconds,
)

LINK = Link(latency=1e-3, bandwidth=1e6)
ADDING = 1e7


def simulated_doubling(nbytes: float, ranks: int) -> float:
    """Every exchange of recursive doubling, rank by rank, with clocks of their own."""
    clock = [0.0] * ranks
    distance = 1
    while distance < ranks:
        clock = [
            max(clock[rank], clock[rank ^ distance]) + LINK.seconds(nbytes) + nbytes / ADDING
            for rank in range(ranks)
        ]
        distance *= 2
    return max(clock)


def simulated_ring(nbytes: float, ranks: int) -> float:
    """2 (p-1) turns, in each of which every rank passes a piece on; in the first half it adds."""
    clock, piece = [0.0] * ranks, nbytes / ranks
    for turn in range(2 * (ranks - 1)):
        adds = piece / ADDING if turn < ranks - 1 else 0.0
        clock = [
            max(clock[rank], clock[rank - 1]) + LINK.seconds(piece) + adds for rank in range(ranks)
        ]
    return max(clock)


def simulated_halving(nbytes: float, ranks: int) -> float:
    """Half, quarter, … out and added; then … quarter, half back."""
    total, piece, pieces = 0.0, nbytes, []
    for _ in range(int(math.log2(ranks))):
        piece /= 2
        pieces.append(piece)
        total += LINK.seconds(piece) + piece / ADDING
    return total + sum(LINK.seconds(piece) for piece in pieces)


@pytest.mark.parametrize("ranks", [2, 4, 8, 64])
@pytest.mark.parametrize(
    ("algorithm", "simulated"),
    [
        ("doubling", simulated_doubling),
        ("ring", simulated_ring),
        ("halving", simulated_halving),
    ],
)
def test_sums_take_what_their_messages_take(algorithm, simulated, ranks):
    for nbytes in (0, 8, 1e6):
        found = allreduce_seconds(nbytes, ranks, LINK, adding=ADDING, algorithm=algorithm)
        assert found == pytest.approx(simulated(nbytes, ranks))


def test_mpich_chooses_by_size_and_one_rank_waits_for_nobody():
    assert allreduce_seconds(1e6, 1, LINK) == 0.0
    for nbytes, algorithm in ((2048, "doubling"), (2049, "halving")):
        chosen = allreduce_seconds(nbytes, 8, LINK)
        assert chosen == allreduce_seconds(nbytes, 8, LINK, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ["doubling", "halving"])
def test_ranks_above_a_power_of_two_hand_their_vector_over(algorithm):
    of_4, of_5 = (
        allreduce_seconds(1e5, ranks, LINK, adding=ADDING, algorithm=algorithm) for ranks in (4, 5)
    )
    assert of_5 - of_4 == pytest.approx(2 * LINK.seconds(1e5) + 1e5 / ADDING)
    ring = [allreduce_seconds(1e5, ranks, LINK, algorithm="ring") for ranks in (4, 5)]
    assert ring[1] - ring[0] == pytest.approx(2e-3 + 2 * 0.1 * (4 / 5 - 3 / 4))


def test_a_sum_over_hosts_with_several_ranks_adds_the_levels():
    inside = Link(latency=1e-6, bandwidth=1e9)
    cluster = Cluster(hosts=2, between=LINK, ranks_per_host=2, inside=inside)
    between = 2 * 1e-3 + 1.0
    reduced = 2 * 1e-6 + 1e-3  # to one rank of two: half there, half back
    spread = 2 * 1e-6 + 1e-3
    assert sum_seconds(1e6, cluster) == pytest.approx(between + reduced + spread)
    small = sum_seconds(8, cluster)
    assert small == pytest.approx(LINK.seconds(8) + 2 * inside.seconds(8))
    one_host = Cluster(hosts=1, ranks_per_host=4, inside=inside)
    assert sum_seconds(1e6, one_host) == allreduce_seconds(1e6, 4, inside)
    assert sum_seconds(1e6, Cluster(hosts=1)) == 0.0


WORK = Work(
    fixed=0.01, per_sample=0.001, update=0.02, buckets=(Bucket(1e5, 0.5), Bucket(2e5, 1.0))
)  # passes of 10 samples: 20 ms; sums of 2 ranks: 102 ms and 202 ms
TWO = Cluster(hosts=2, between=LINK, spare_cores=True)


def test_a_rank_alone():
    found = predict(WORK, 10, Cluster(hosts=1))
    assert found.step == pytest.approx(0.04)
    assert (found.communication, found.exposed) == (0.0, 0.0)


def test_without_overlap_the_parts_add_up():
    found = predict(WORK, 10, TWO, overlap=False)
    assert found.communication == pytest.approx(0.304)
    assert found.step == pytest.approx(0.02 + 0.304 + 0.02)
    assert found.exposed == pytest.approx(found.communication)


def test_overlap_by_hand():
    found = predict(WORK, 10, TWO)
    # The first sum begins at 10 ms and ends at 112; the second, ready at 20, ends at 314.
    assert found.step == pytest.approx(0.314 + 0.02)
    assert found.exposed == pytest.approx(0.314 - 0.02)
    # 4,000 samples: 4.01 s of passes hide the first sum wholly; the last one starts at their end.
    long = predict(WORK, 4000, TWO)
    assert long.step == pytest.approx(4.01 + 0.202 + 0.02)


def test_a_link_that_needs_the_core_gains_nothing():
    busy = Link(latency=LINK.latency, bandwidth=LINK.bandwidth, handling=LINK.bandwidth)
    cluster = Cluster(hosts=2, between=busy)
    with_overlap, without = (predict(WORK, 10, cluster, overlap=o).step for o in (True, False))
    assert with_overlap == pytest.approx(without)
    half = Link(latency=LINK.latency, bandwidth=LINK.bandwidth, handling=2 * LINK.bandwidth)
    between = predict(WORK, 4000, Cluster(hosts=2, between=half)).step
    assert predict(WORK, 4000, TWO).step < between < predict(WORK, 4000, cluster).step


@pytest.mark.parametrize("seed", range(20))
def test_overlap_is_between_the_longer_part_and_the_sum_of_both(seed):
    rng = np.random.default_rng(seed)
    ready = np.sort(rng.random(5))
    work = Work(
        fixed=rng.random(),
        per_sample=rng.random() / 10,
        update=rng.random() / 10,
        buckets=tuple(Bucket(float(rng.integers(1, 10**6)), float(at)) for at in ready),
    )
    link = Link(latency=1e-3 * rng.random(), bandwidth=1e6, handling=float(rng.choice([1e6, 3e6])))
    cluster = Cluster(
        hosts=int(rng.integers(2, 100)), between=link, spare_cores=bool(rng.integers(2)),
        slowdown=1 + rng.random(),
    )  # fmt: skip
    on, off = (predict(work, 10, cluster, overlap=overlap) for overlap in (True, False))
    passes = work.passes(10) * cluster.slowdown
    assert on.step <= off.step * (1 + 1e-12)
    assert on.step >= max(passes, on.communication) + work.update * cluster.slowdown - 1e-12
    assert on.communication == off.communication
    assert 0 <= on.exposed <= on.communication * (1 + 1e-12)


def test_slowdown_is_compute_alone():
    slow = Cluster(hosts=2, between=LINK, spare_cores=True, slowdown=2.0)
    found = predict(WORK, 10, slow, overlap=False)
    assert found.step == pytest.approx(2 * 0.04 + 0.304)


def test_a_line_is_found_in_relative_noise():
    rng = np.random.default_rng(0)
    sizes = 8.0 * 4.0 ** np.arange(10)
    seconds = (5e-5 + sizes / 1e8) * rng.uniform(0.95, 1.05, 10)
    constant, slope = fit_line(sizes.tolist(), seconds.tolist())
    assert constant == pytest.approx(5e-5, rel=0.05)
    assert slope == pytest.approx(1e-8, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "zero"), [([1.0, 2.2, 3.6, 4.9], 0), ([3.0, 2.9, 2.8, 2.7], 1)]
)
def test_neither_latency_nor_slope_comes_out_below_nothing(seconds, zero):
    sizes = [1.0, 2.0, 3.0, 4.0]
    found = fit_line(sizes, seconds)
    assert found[zero] == 0.0
    residual = [(found[0] + found[1] * x) / y - 1 for x, y in zip(sizes, seconds, strict=True)]
    assert max(map(abs, residual)) < 0.15


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Link(latency=-1, bandwidth=1), "latency is seconds from 0 up, got -1"),
        (lambda: Link(latency=0, bandwidth=0), "more than 0 bytes a second, got 0 and inf"),
        (lambda: Cluster(hosts=0), "at least 1 host and 1 rank on it, got 0 and 1"),
        (lambda: Cluster(hosts=2), "2 hosts want a link between them"),
        (lambda: Cluster(hosts=1, ranks_per_host=3), "3 ranks on a host want a link inside"),
        (lambda: Cluster(hosts=1, slowdown=0.5), "slowdown at least 1, got inf and 0.5"),
        (lambda: allreduce_seconds(-1, 2, LINK), "-1 bytes over 2 ranks"),
        (lambda: allreduce_seconds(1, 2, LINK, algorithm="tree"), "'tree' is none of"),
        (lambda: fit_line([1, 1], [1, 2]), "at least two sizes are wanted"),
        (lambda: fit_line([1, 2], [0, 1]), "seconds above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
