"""The queue before a model: what is joined, refused, cancelled, and what happens at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from minidl.autograd.primitive import recording_floor
from minidl.serving.batching import Batcher, QueueFullError

SECONDS = 30


class Doubling:
    """A model that doubles its input, one batch each time it is let go on."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[int] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self, samples: Any) -> Any:
        self.batches.append(len(samples))
        self.entered.set()
        assert self.go_on.wait(SECONDS)
        if (samples < 0).any():
            raise ValueError("negative")
        return samples * 2.0


@pytest.fixture
def batchers() -> Iterator[Any]:
    made: list[tuple[Batcher, Doubling]] = []

    def make(*, held: bool = False, **settings: Any) -> tuple[Batcher, Doubling]:
        model = Doubling(held=held)
        made.append((Batcher(model, **settings), model))
        return made[-1]

    yield make
    for batcher, model in made:
        model.go_on.set()
        batcher.close()


def rows(*values: float) -> Any:
    return np.array(values, np.float32)[:, None]


def test_each_gets_its_own_answers(batchers: Any) -> None:
    batcher, _ = batchers()
    futures = [batcher.submit(rows(i, -0.0, i + 100)) for i in range(50)]
    for i, future in enumerate(futures):
        assert future.result(SECONDS).ravel().tolist() == [2 * i, 0, 2 * i + 200]


def test_what_gathers_behind_a_batch_goes_together(batchers: Any) -> None:
    batcher, model = batchers(held=True, max_batch=5)
    first = batcher.submit(rows(0))
    assert model.entered.wait(SECONDS)
    futures = [batcher.submit(rows(i, i)) for i in range(3)]
    assert batcher.waiting == 6
    model.go_on.set()
    assert [f.result(SECONDS)[0, 0] for f in [first, *futures]] == [0, 0, 2, 4]
    assert model.batches == [1, 4, 2]  # whole requests only: five would divide the third
    assert batcher.waiting == 0


def test_a_request_larger_than_a_batch_is_run_in_pieces(batchers: Any) -> None:
    batcher, model = batchers(max_batch=4)
    found = batcher.submit(rows(*range(10))).result(SECONDS)
    assert found.ravel().tolist() == [2.0 * i for i in range(10)]
    assert model.batches == [4, 4, 2]


def test_waiting_for_others(batchers: Any) -> None:
    batcher, model = batchers(max_batch=3, max_wait=SECONDS)
    futures = [batcher.submit(rows(i)) for i in range(3)]
    for future in futures:
        future.result(SECONDS / 2)  # a full batch waits no longer
    assert model.batches == [3]
    batcher, model = batchers(max_batch=3, max_wait=0.01)
    assert batcher.submit(rows(1)).result(SECONDS) == 2
    assert model.batches == [1]


def test_one_that_fails_does_not_fail_the_others(batchers: Any) -> None:
    batcher, model = batchers(held=True)
    futures = [batcher.submit(rows(v)) for v in (0, 1, -1, 2)]
    model.go_on.set()
    assert [futures[i].result(SECONDS).item() for i in (0, 1, 3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="negative"):
        futures[2].result(SECONDS)
    assert batcher.submit(rows(5)).result(SECONDS) == 10
    assert batcher.alive


def test_a_full_queue(batchers: Any) -> None:
    batcher, model = batchers(held=True, max_queue=4)
    first = batcher.submit(rows(0))
    assert model.entered.wait(SECONDS)
    second = batcher.submit(rows(1, 2, 3))
    with pytest.raises(QueueFullError, match="3 samples are waiting, and there is room for 4: 2"):
        batcher.submit(rows(4, 5))
    third = batcher.submit(rows(4))
    model.go_on.set()
    for future in (first, second, third):
        future.result(SECONDS)
    batcher.submit(rows(4, 5)).result(SECONDS)


def test_cancelled_requests_are_not_run(batchers: Any) -> None:
    batcher, model = batchers(held=True)
    first = batcher.submit(rows(0))
    assert model.entered.wait(SECONDS)
    gone, kept = batcher.submit(rows(1, 1, 1)), batcher.submit(rows(2))
    assert gone.cancel()
    model.go_on.set()
    assert kept.result(SECONDS) == 4
    assert model.batches == [1, 1]
    assert first.result(SECONDS) == 0
    with pytest.raises(CancelledError):
        gone.result(SECONDS)


def test_cancelled_while_the_model_runs(batchers: Any) -> None:
    batcher, model = batchers(held=True)
    first = batcher.submit(rows(0))
    assert model.entered.wait(SECONDS)
    assert first.cancel()
    model.go_on.set()
    assert batcher.submit(rows(2)).result(SECONDS) == 4  # the thread has not minded


def test_a_batch_is_delivered_by_one_call() -> None:
    calls: list[Any] = []
    model = Doubling(held=True)
    batcher = Batcher(model, deliver=calls.append)
    first = batcher.submit(rows(0))
    assert model.entered.wait(SECONDS)
    others = [batcher.submit(rows(i)) for i in (1, 2)]
    model.go_on.set()
    batcher.close()
    assert len(calls) == 2
    assert not first.done()
    for settle in calls:
        settle()
    assert [f.result(0).item() for f in (first, *others)] == [0, 2, 4]


def test_closing_answers_what_was_taken(batchers: Any) -> None:
    batcher, model = batchers(held=True, max_batch=2, max_wait=SECONDS)
    futures = [batcher.submit(rows(i)) for i in range(5)]
    assert model.entered.wait(SECONDS)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.go_on.set()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert [f.result(0).item() for f in futures] == [0, 2, 4, 6, 8]
    assert not batcher.alive
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(rows(1))


def test_what_is_observed() -> None:
    seen: list[tuple[int, float]] = []
    batcher = Batcher(Doubling(), max_batch=2, observe=lambda *batch: seen.append(batch))
    batcher.submit(rows(1, 2, 3)).result(SECONDS)
    batcher.close()
    assert [count for count, _ in seen] == [2, 1]
    assert all(0 <= seconds < SECONDS for _, seconds in seen)


def test_the_callers_recording_is_its_own(batchers: Any) -> None:
    from minidl.autograd import no_grad
    from minidl.nn import Linear
    from minidl.tensor import Tensor

    layer = Linear(1, 1)
    levels = []

    def answer(samples: Any) -> Any:
        with no_grad():
            levels.append(recording_floor.get())
            return layer(Tensor(samples)).numpy()

    before = recording_floor.get()
    batcher = Batcher(answer)
    batcher.submit(rows(1)).result(SECONDS)
    batcher.close()
    assert recording_floor.get() == before != levels[0]
    assert layer(Tensor(rows(1))).requires_grad
