"""Samplers, prefetching, resuming, collating, and datasets made of datasets."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from minidl.data import (
    ArrayDataset,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    augment,
    class_weights,
    collate,
    k_fold,
    oversample,
    random_split,
    split,
)


def digits(n: int = 23) -> ArrayDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 6, 6), np.uint8)
    return ArrayDataset(pixels, np.arange(n) % 4)


def bits(loader: Any) -> list[tuple[bytes, ...]]:
    return [tuple(np.asarray(t.numpy()).tobytes() for t in batch) for batch in loader]


class Squares:
    """A dataset of the user's: item by item."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[np.ndarray, float]:
        return np.full(2, index, np.float32), float(index**2)


# ---- prefetch and resuming -----------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_prefetched_batches_are_the_same(prefetch: int) -> None:
    how: Any = {"shuffle": True, "seed": 3, "mean": 0.5, "std": 0.5}
    how["augment"] = augment.RandomAffine(15)
    plain, ahead = DataLoader(digits(), 4, **how), DataLoader(digits(), 4, prefetch=prefetch, **how)
    for epoch in range(3):
        plain.set_epoch(epoch)
        ahead.set_epoch(epoch)
        assert bits(plain) == bits(ahead)


def prefetchers() -> int:
    return sum(thread.name == "minidl-prefetch" for thread in threading.enumerate())


def test_threads_end_with_the_iteration_and_when_it_is_dropped() -> None:
    before = prefetchers()
    list(DataLoader(digits(), 4, prefetch=2))
    iteration = iter(DataLoader(digits(), 4, prefetch=1))
    next(iteration)
    iteration.close()  # type: ignore[attr-defined]
    dropped = iter(DataLoader(digits(), 4, prefetch=1))
    next(dropped)
    del dropped
    gc.collect()
    deadline = time.monotonic() + 10
    while prefetchers() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert prefetchers() == before


def test_an_error_in_the_thread_comes_in_its_turn() -> None:
    class Broken(Squares):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise OSError("sample 5 is gone")
            return super().__getitem__(index)

    iteration = iter(DataLoader(Broken(), 2, prefetch=3))
    got = [next(iteration)[0].numpy()[:, 0].tolist() for _ in range(2)]
    assert got == [[0.0, 1.0], [2.0, 3.0]]
    with pytest.raises(OSError, match="sample 5 is gone"):
        next(iteration)


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_an_interrupted_epoch_goes_on_with_the_same_bits(prefetch: int, stop: int) -> None:
    how: Any = {"shuffle": True, "seed": 1, "augment": augment.RandomShift(1)}
    whole = DataLoader(digits(), 4, **how)
    whole.set_epoch(5)
    expected = bits(whole)
    first = DataLoader(digits(), 4, prefetch=prefetch, **how)
    first.set_epoch(5)
    iteration = iter(first)
    taken = [next(iteration) for _ in range(stop)]
    state = first.state_dict()
    assert state == {"epoch": 5, "batch": stop}
    second = DataLoader(digits(), 4, prefetch=prefetch, **how)
    second.load_state_dict(state)
    assert bits(taken) + bits(second) == expected
    second.set_epoch(6)
    assert len(bits(second)) == 6


def test_a_state_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="batch 9 of epoch 0; an epoch has 6 batches"):
        DataLoader(digits(), 4).load_state_dict({"epoch": 0, "batch": 9})


# ---- samplers ------------------------------------------------------------------------------


def test_random_and_sequential_orders() -> None:
    data = digits()
    np.testing.assert_array_equal(SequentialSampler(data).order(4), np.arange(23))
    some = RandomSampler(data, seed=2, num_samples=5)
    assert len(some) == 5
    assert len(set(some.order(0).tolist())) == 5
    assert some.order(0).tolist() != some.order(1).tolist()
    more = RandomSampler(data, replacement=True, num_samples=50)
    assert len(more.order(0)) == 50
    loader = DataLoader(data, 4, sampler=more)
    assert len(loader) == 13
    assert sum(len(targets) for _, targets in loader) == 50


def test_weighted_draws_follow_the_weights() -> None:
    sampler = WeightedRandomSampler([1.0, 0.0, 3.0], 8000, seed=1)
    counts = np.bincount(sampler.order(0), minlength=3)
    assert counts[1] == 0
    assert counts[2] / 8000 == pytest.approx(0.75, abs=0.02)
    without = WeightedRandomSampler([1.0, 0.0, 3.0], 2, replacement=False)
    assert sorted(without.order(3).tolist()) == [0, 2]


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 23, 24])
def test_ranks_share_the_batches_of_one_process(world: int, count: int) -> None:
    whole = RandomSampler(range(count), seed=5)
    parts = [DistributedSampler(whole, rank, world, 2) for rank in range(world)]
    orders = [part.order(3) for part in parts]
    assert [len(part) for part in parts] == [len(order) for order in orders]
    rebuilt = []
    for start in range(0, count, 2 * world):
        size = min(2 * world, count - start)
        place = start // (2 * world) * 2
        for rank, order in enumerate(orders):
            share = size // world + (rank < size % world)
            rebuilt += order[place : place + share].tolist()
    assert rebuilt == whole.order(3).tolist()


REFUSED = [
    (lambda: RandomSampler(digits(), num_samples=30), "want replacement"),
    (lambda: WeightedRandomSampler([0.0, 0.0]), "not all 0"),
    (lambda: WeightedRandomSampler([1.0, float("nan")]), "weights must be numbers"),
    (lambda: WeightedRandomSampler([1.0, 0.0], 2, replacement=False), "1 have a weight above 0"),
    (
        lambda: DistributedSampler(SequentialSampler(digits()), 2, 2, 1),
        "rank must be below world 2",
    ),
    (
        lambda: DataLoader(digits(), 2, shuffle=True, sampler=SequentialSampler(digits())),
        "shuffle must be False",
    ),
    (lambda: DataLoader(digits(), 2, mean=[0.1, 0.2]).__iter__().__next__(), "one a channel"),
    (lambda: TensorDataset(), "arrays of one length"),
    (lambda: TensorDataset(np.ones(3), np.ones(2)), r"\[\(3,\), \(2,\)\]"),
    (lambda: ConcatDataset([]), "no datasets"),
    (lambda: random_split(digits(), [3, 4]), "sum to 23"),
    (lambda: random_split(digits(), [0.5, 0.6]), "sum to 23, or shares that sum to 1"),
    (lambda: k_fold(digits(), 1), "k must be from 2 to 23"),
    (lambda: class_weights([0, 2]), r"no samples of the classes \[1\]"),
    (lambda: collate([(np.ones(2),), (np.ones(3),)]), "field 0 .* have shapes|has shapes"),
]


@pytest.mark.parametrize(("action", "message"), REFUSED)
def test_refuses(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        action()


# ---- datasets ------------------------------------------------------------------------------


def test_a_dataset_of_the_users_own() -> None:
    batches = list(DataLoader(Squares(), 3))
    assert [inputs.shape for inputs, _ in batches] == [(3, 2), (3, 2), (1, 2)]
    assert batches[1][1].tolist() == [9.0, 16.0, 25.0]
    assert batches[1][1].dtype == np.float32

    def padded(samples: Any) -> Any:
        return np.stack([x for x, _ in samples]), np.array([len(samples)])

    _, sizes = next(iter(DataLoader(Squares(), 4, collate=padded)))
    assert sizes.tolist() == [4]


def test_a_collate_of_the_users_own_is_used_for_every_dataset() -> None:
    def first_only(samples: Any) -> Any:
        return (np.stack([np.asarray(sample[0]) for sample in samples]),)

    for data in (digits(), TensorDataset(digits().inputs, digits().targets), Squares()):
        for batch in DataLoader(data, 4, collate=first_only):
            assert len(batch) == 1
    shifted = DataLoader(digits(), 4, collate=first_only, augment=augment.RandomShift(1))
    assert len(next(iter(shifted))) == 1


def test_tensor_dataset_subset_and_concat() -> None:
    x, y = np.arange(10.0), np.arange(10)
    data = TensorDataset(x, y)
    assert data[3] == (3.0, 3)
    part = Subset(data, [7, -1, 2])
    assert len(part) == 3
    assert part[1] == (9.0, 9)
    both = ConcatDataset([part, Squares(), data])
    assert len(both) == 20
    assert both[-1] == (9.0, 9)
    assert both[3][1] == 0.0
    whole = ConcatDataset([part, data])
    inputs, targets = next(iter(DataLoader(whole, 13)))
    assert targets.tolist() == [7, 9, 2, *range(10)]
    picked = whole.batch(np.array([12, 0, 4, 1]))
    assert picked[1].tolist() == [9, 7, 1, 9]
    assert inputs.dtype == np.float64
    with pytest.raises(IndexError, match="index 10 is not in a dataset of 10"):
        Subset(data, [3, 10])
    with pytest.raises(IndexError, match="no sample 20; there are 20"):
        both[20]


def test_random_split_and_folds_hold_each_sample_once() -> None:
    data = digits(40)
    parts = random_split(data, [30, 10], seed=1)
    assert [len(part) for part in parts] == [30, 10]
    assert sorted(np.concatenate([p.indices for p in parts]).tolist()) == list(range(40))
    assert [len(p) for p in random_split(data, [0.5, 0.25, 0.25])] == [20, 10, 10]
    held = []
    for rest, fold in k_fold(data, 4, seed=2):
        assert sorted([*rest.indices, *fold.indices]) == list(range(40))
        assert np.bincount(data.targets[fold.indices]).tolist() in (
            [3, 3, 2, 2],
            [2, 2, 3, 3],
            [3, 2, 3, 2],
            [2, 3, 2, 3],
            [2, 3, 3, 2],
            [3, 2, 2, 3],
        )
        held += fold.indices.tolist()
    assert sorted(held) == list(range(40))
    plain = list(k_fold(data, 5, stratified=False))
    assert len(plain) == 5


def test_class_weights_are_those_of_scikit_learn() -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight", reason="scikit-learn is wanted")
    targets = np.random.default_rng(0).choice(4, 200, p=[0.5, 0.3, 0.15, 0.05])
    expected = utils.compute_class_weight("balanced", classes=np.arange(4), y=targets)
    np.testing.assert_allclose(class_weights(targets), expected, rtol=1e-6)


def test_oversampling_makes_classes_equally_frequent() -> None:
    targets = np.array([0] * 10 + [1] * 3 + [2])
    chosen = oversample(targets, seed=1)
    assert np.bincount(targets[chosen]).tolist() == [10, 10, 10]
    assert set(chosen.tolist()) == set(range(14))


def test_split_of_numbers() -> None:
    data = ArrayDataset(np.ones((10, 2), np.float32), np.arange(10.0))
    rest, held = split(data, fraction=0.3, seed=0)
    assert (len(rest), len(held)) == (7, 3)
    assert sorted([*rest.targets, *held.targets]) == list(range(10))


def test_channels_have_their_own_statistics() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 2), np.uint8)
    data = ArrayDataset(pixels, np.zeros(4, int))
    inputs, _ = next(iter(DataLoader(data, 4, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0])))
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    expected = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-6)
