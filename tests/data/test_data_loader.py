"""DataLoader: an order from (seed, epoch), exact normalization, batches that nobody shares."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.data import ArrayDataset, DataLoader, normalize
from minidl.data.augment import Compose, GaussianNoise, Mixup, RandomCrop


def numbered(n: int = 10) -> ArrayDataset:
    """Samples that know their own index."""
    return ArrayDataset(np.arange(n, dtype=np.float64).reshape(n, 1, 1, 1), np.arange(n))


def visited(loader: DataLoader) -> list[int]:
    """Which samples come, in order; inputs and targets must agree about it."""
    order = []
    for inputs, targets in loader:
        assert np.asarray(inputs).ravel().tolist() == np.asarray(targets).tolist()
        order += np.asarray(targets).tolist()
    return order


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_last", "sizes"),
    [
        (10, 4, False, [4, 4, 2]),
        (10, 4, True, [4, 4]),
        (8, 4, False, [4, 4]),
        (8, 4, True, [4, 4]),
        (3, 4, False, [3]),
        (4, 4, True, [4]),
        (3, 1, False, [1, 1, 1]),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_and_their_number(n, batch_size, drop_last, sizes, shuffle) -> None:
    loader = DataLoader(numbered(n), batch_size, drop_last=drop_last, shuffle=shuffle)
    assert [len(np.asarray(targets)) for _, targets in loader] == sizes
    assert len(loader) == len(sizes)


def test_without_shuffle_the_order_is_the_datasets_in_every_epoch() -> None:
    loader = DataLoader(numbered(), 3, seed=4)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert visited(loader) == list(range(10))


def test_order_is_the_documented_function_of_seed_and_epoch() -> None:
    for seed in (0, 7, 2**40):
        loader = DataLoader(numbered(), 3, shuffle=True, seed=seed)
        for epoch in (5, 0, 1):  # in any sequence: nothing is carried over
            loader.set_epoch(epoch)
            expected = np.random.default_rng([seed, epoch]).permutation(10).tolist()
            assert visited(loader) == expected
            other_size = DataLoader(numbered(), 7, shuffle=True, seed=seed)
            other_size.set_epoch(epoch)
            assert visited(other_size) == expected


def test_epochs_and_seeds_differ_and_each_visits_everything_once() -> None:
    orders = set()
    for seed in range(3):
        loader = DataLoader(numbered(50), 8, shuffle=True, seed=seed)
        for epoch in range(3):
            loader.set_epoch(epoch)
            order = visited(loader)
            assert sorted(order) == list(range(50))
            orders.add(tuple(order))
    assert len(orders) == 9  # (seed 1, epoch 0) is not (seed 0, epoch 1)


def test_iterating_does_not_change_the_epoch() -> None:
    loader = DataLoader(numbered(), 3, shuffle=True)
    first, second = visited(loader), visited(loader)
    assert loader.epoch == 0
    assert first == second


def test_an_iteration_keeps_the_order_with_which_it_began() -> None:
    loader = DataLoader(numbered(), 3, shuffle=True)
    expected = visited(loader)
    iteration = iter(loader)
    loader.set_epoch(1)
    assert [index for _, targets in iteration for index in np.asarray(targets)] == expected
    assert visited(loader) != expected


def test_iterations_at_once_do_not_disturb_each_other() -> None:
    loader = DataLoader(numbered(), 3, shuffle=True)
    pairs = zip(loader, loader, strict=True)
    assert all(a[1].tolist() == b[1].tolist() for a, b in pairs)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_writing_into_a_batch_leaves_the_dataset_alone(shuffle: bool, dtype) -> None:
    data = ArrayDataset(np.ones((4, 1, 2, 2), dtype), np.zeros(4, int))
    digest = data.digest()
    for inputs, targets in DataLoader(data, 2, shuffle=shuffle):
        np.asarray(inputs)[:] = 9
        np.asarray(targets)[:] = 9
    assert ArrayDataset(data.inputs, data.targets).digest() == digest


PIXELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    ("mean", "std"), [(0.1307, 0.3081), (None, None), (0.5, None), (None, 0.5), (0.0, 1.0)]
)
def test_every_byte_is_scaled_and_normalized_in_float32(mean, std) -> None:
    exact = (PIXELS / 255 - (mean or 0)) / (std or 1)
    data = ArrayDataset(PIXELS.reshape(256, 1, 1, 1), np.zeros(256, int))
    ((inputs, targets),) = DataLoader(data, 256, mean=mean, std=std)
    assert inputs.dtype == np.float32
    assert targets.dtype == np.int64
    assert inputs.shape == (256, 1, 1, 1)
    np.testing.assert_allclose(np.asarray(inputs).ravel(), exact, rtol=0, atol=4e-7)


def test_unnormalized_bytes_end_exactly_at_0_and_1() -> None:
    scaled = normalize(PIXELS)
    assert (scaled[0], scaled[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_inputs_keep_their_dtype_and_scale(dtype) -> None:
    values = np.linspace(-2, 300, 12).astype(dtype)
    result = normalize(values, mean=1.5, std=0.5)
    assert result.dtype == dtype
    expected = (values.astype(np.float64) - 1.5) / 0.5
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    assert normalize(values) is values


def test_normalize_does_not_write_to_its_input() -> None:
    for values in (PIXELS.copy(), np.arange(5.0)):
        before = values.copy()
        normalize(values, mean=0.5, std=2.0)
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2, "seed": -1}, "seed must be at least 0, got -1"),
        ({"batch_size": 2, "std": 0.0}, "std must be above 0, got 0.0"),
        ({"batch_size": 11, "drop_last": True}, "drop_last leaves no batch.*10 samples.*is 11"),
    ],
)
def test_arguments_out_of_bounds_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(numbered(), **arguments)


def test_an_empty_dataset_is_refused_by_name() -> None:
    empty = ArrayDataset(np.zeros((0, 1, 2, 2)), np.zeros(0, int), name="nothing")
    with pytest.raises(ValueError, match="dataset 'nothing' is empty"):
        DataLoader(empty, 4)


def test_a_negative_epoch_is_refused() -> None:
    loader = DataLoader(numbered(), 3)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        loader.set_epoch(-1)
    assert loader.epoch == 0


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("how", [{}, {"shuffle": True}, {"augment": True}, {"prefetch": 2}])
def test_ranks_share_the_batches_of_one_process(world: int, how) -> None:
    rng = np.random.default_rng(0)
    data = ArrayDataset(rng.random((23, 1, 6, 6), np.float32), np.arange(23) % 3)
    how = {"seed": 5} | how
    if how.get("augment"):  # crops each sample, mixes samples of a batch, and draws pixels
        how["augment"] = Compose([RandomCrop(padding=2), Mixup(num_classes=3), GaussianNoise(0.1)])
    whole = DataLoader(data, 5, **how)
    shares = [DataLoader(data, 5, rank=rank, world=world, **how) for rank in range(world)]
    for epoch in (1, 2):
        for loader in (whole, *shares):
            loader.set_epoch(epoch)
        assert {len(loader) for loader in shares} == {len(whole)}
        for batch, *parts in zip(whole, *shares, strict=True):
            sizes = [len(part[0]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert sizes == sorted(sizes, reverse=True)
            for number, field in enumerate(batch):
                joined = np.concatenate([part[number].numpy() for part in parts])
                np.testing.assert_array_equal(joined, field.numpy())


def test_a_rank_goes_on_where_it_was() -> None:
    loader = DataLoader(numbered(), 4, rank=1, world=2)
    loader.load_state_dict({"epoch": 0, "batch": 1})
    assert [targets.tolist() for _, targets in loader] == [[6, 7], [9]]


def test_a_rank_beyond_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank must be below world 2, got 2"):
        DataLoader(numbered(), 4, rank=2, world=2)
