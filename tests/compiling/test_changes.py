"""What may change between two steps: a replay does as an eager step would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import Twins, descend, same_bits, state_of

import minidl
from minidl import nn, optim


def network(dropout: float = 0.0) -> nn.Module:
    rng = np.random.default_rng(2)
    return nn.Sequential(
        nn.Linear(6, 8, rng=rng),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(dropout, rng=rng),
        nn.Linear(8, 3, rng=rng),
    )


def classify(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
    loss_of = nn.CrossEntropyLoss()

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def batch(size: int = 4, seed: int = 0) -> tuple[minidl.Tensor, minidl.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((size, 6), np.float32)
    return minidl.Tensor(x), minidl.Tensor(rng.integers(0, 3, size))


def test_the_last_batch_is_smaller() -> None:
    twins = Twins(network(), classify)
    for epoch in range(4):
        for number in range(3):
            twins.step(*batch(2 if number == 2 else 4, seed=epoch * 3 + number))
    assert len(twins.compiled.programs) == 2


def test_training_and_evaluation_take_turns() -> None:
    twins = Twins(network(), descend)
    for number in range(12):
        twins.both(lambda m, _, mode=number % 3 != 2: m.train(mode))
        twins.step(batch(seed=number)[0])
    assert len(twins.compiled.programs) == 2


def test_learning_rate_and_momentum_are_read_at_each_step() -> None:
    twins = Twins(network(), classify)
    for number in range(8):
        settings = {"lr": 0.1 / (number + 1), "momentum": 0.1 * number}
        for optimizer in twins.optimizers:
            optimizer.param_groups[0].update(settings)
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_each_replay_draws_its_own_mask() -> None:
    twins = Twins(network(dropout=0.5), descend)
    x, _ = batch()
    outputs = [twins.step(x)[1].detach().numpy() for _ in range(6)]
    assert len(twins.compiled.programs) == 1
    assert len({out.tobytes() for out in outputs}) == 6
    generators = [m[3].rng.bit_generator.state for m in twins.models]
    assert generators[0] == generators[1]


def test_an_unseeded_mask_is_drawn_anew() -> None:
    dropped = minidl.compile(lambda x: nn.functional.dropout(x, 0.5), strict=True)
    x = minidl.ones(64)
    assert len({dropped(x).numpy().tobytes() for _ in range(6)}) == 6
    assert len(dropped.programs) == 1


def test_frozen_and_unfrozen() -> None:
    twins = Twins(network(), classify)
    for number in range(12):
        twins.both(lambda m, _, on=number // 4 % 2 == 0: m[0].requires_grad_(on))
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 3  # unfrozen parameters are other leaves


def test_a_layer_frozen_from_the_start() -> None:
    model = network()
    model[0].requires_grad_(False)
    twins = Twins(model, classify)
    for number in range(5):
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_parameters_that_are_shared() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(6, 6, rng=np.random.default_rng(0))

        def forward(self, x: Any) -> Any:
            return minidl.tanh(self.inner(minidl.tanh(self.inner(x)))) @ self.inner.weight

    twins = Twins(Tied(), descend)
    for number in range(5):
        twins.step(batch(seed=number)[0])
    assert len(twins.compiled.programs) == 1


def test_two_optimizers_in_turn() -> None:
    """As adversaries are trained: one step of each, the second through the changed first."""

    def make_step(model: nn.Module, _: Any) -> Callable[..., Any]:
        first = optim.Adam(model[0].parameters(), lr=0.01)
        second = optim.SGD(model[4].parameters(), lr=0.1)

        def step(x: Any, labels: Any) -> Any:
            first.zero_grad()
            one = nn.functional.cross_entropy(model(x), labels)
            one.backward()
            first.step()
            second.zero_grad()
            two = nn.functional.cross_entropy(model(x), labels)
            two.backward()
            optim.clip_grad_norm_(model.parameters(), 0.1)
            second.step()
            return one, two

        return step

    twins = Twins(network(), make_step)
    for number in range(5):
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_weights_are_loaded_between_steps() -> None:
    twins = Twins(network(), classify)
    state = {name: t.numpy().copy() for name, t in network().state_dict().items()}
    for number in range(8):
        if number == 5:
            twins.both(lambda m, _: m.load_state_dict(state))
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_an_optimizer_is_loaded_between_steps() -> None:
    twins = Twins(network(), classify, lambda p: optim.Adam(p, lr=0.01))
    saved: list[Any] = []
    for number in range(8):
        if number == 2:
            saved = [o.state_dict() for o in twins.optimizers]
        if number == 5:
            for optimizer, state in zip(twins.optimizers, saved, strict=True):
                optimizer.load_state_dict(state)
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_another_dtype_is_another_program() -> None:
    def make_step(model: nn.Module, _: Any) -> Callable[..., Any]:
        return lambda x: model(x).sum()

    with minidl.no_grad():
        twins = Twins(network().eval(), make_step)
        for dtype in (np.float32, np.float64, np.float32):
            twins.both(lambda m, _, dtype=dtype: m.to(dtype))
            for number in range(4):
                twins.step(batch(seed=number)[0].to(dtype))
    assert len(twins.compiled.programs) == 3


def test_gradients_add_up_over_several_calls() -> None:
    def make_step(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
        def step(x: Any, labels: Any) -> Any:
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            return loss

        return step

    twins = Twins(network(), make_step)
    for number in range(9):
        twins.step(*batch(seed=number))
        if number % 3 == 2:
            twins.both(lambda _, o: (o.step(), o.zero_grad()))
    assert len(twins.compiled.programs) == 1


@pytest.mark.parametrize("wrapper", [optim.Lookahead, optim.Accumulate])
@pytest.mark.parametrize("count", [2, 3])
def test_wrappers_of_optimizers(wrapper: Any, count: int) -> None:
    def make_step(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
        wrapped = wrapper(optimizer, count)
        average = optim.AveragedModel(model, 0.9)

        def step(x: Any, labels: Any) -> Any:
            wrapped.zero_grad()
            nn.functional.cross_entropy(model(x), labels).backward()
            optim.centralize_grad_(model.parameters())
            wrapped.step()
            average.update()
            return average.averages

        return step

    twins = Twins(network(), make_step)
    for number in range(8):
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1


def test_an_optimizer_of_the_users_own() -> None:
    class Counting(optim.SGD):
        """Does more in a step than its formula."""

        count = 0

        def step(self, closure: Any = None) -> Any:
            self.count += 1
            self.param_groups[0]["lr"] = 0.1 / self.count
            return super().step(closure)

    twins = Twins(network(), classify, lambda p: Counting(p, lr=0.1))
    for number in range(6):
        twins.step(*batch(seed=number))
    assert len(twins.compiled.programs) == 1
    assert [optimizer.count for optimizer in twins.optimizers] == [6, 6]


def test_a_setting_of_a_layer_is_changed() -> None:
    twins = Twins(network(dropout=0.5), descend)
    for number in range(8):
        if number == 4:
            twins.both(lambda m, _: setattr(m[3], "p", 0.25))
        twins.step(batch(seed=number)[0])
    assert len(twins.compiled.programs) == 2


def test_a_variable_around_the_step_is_changed() -> None:
    weight = 1.0
    compiled = minidl.compile(lambda x: x * weight, strict=True)
    x = minidl.ones(3)
    for _ in range(4):
        assert compiled(x).tolist() == [1.0] * 3
    weight = 2.0
    for _ in range(4):
        assert compiled(x).tolist() == [2.0] * 3


def test_an_error_in_the_middle_leaves_what_eager_leaves() -> None:
    twins = Twins(network(), classify)
    for number in range(5):
        twins.step(*batch(seed=number))
    x, labels = batch()
    labels.copy_(np.array([0, 1, 2, 7]))
    errors = []
    for step in (twins.eager, twins.compiled):
        with pytest.raises(IndexError) as caught:
            step(x, labels)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    states = [state_of(m, o) for m, o in zip(twins.models, twins.optimizers, strict=True)]
    assert same_bits(*states)
    twins.step(*batch(seed=6))


def test_labels_that_are_ignored_take_another_way() -> None:
    twins = Twins(network(), classify)
    for number in range(12):
        x, labels = batch(seed=number)
        if number % 2:
            labels.copy_(np.array([0, -100, 2, 1]))
        twins.step(x, labels)
    assert len(twins.compiled.programs) == 2


def test_a_branch_on_a_value_is_never_frozen() -> None:
    def make_step(model: nn.Module, _: Any) -> Callable[..., Any]:
        def step(x: Any) -> Any:
            y = model(x)
            return y * 2.0 if x.sum() > 0 else y - 1.0

        return step

    with minidl.no_grad():
        twins = Twins(network().eval(), make_step)
        for number in range(20):
            twins.step(batch(seed=number)[0])
    assert len(twins.compiled.programs) == 2


def test_what_is_returned_belongs_to_the_caller() -> None:
    twins = Twins(network(), descend)
    kept = [twins.step(batch(seed=number)[0]) for number in range(6)]
    copies = [(loss.item(), out.detach().numpy().copy()) for loss, out in kept]
    for number in range(6):
        twins.step(batch(seed=number)[0])
    for (loss, out), (was, array) in zip(kept, copies, strict=True):
        assert loss.item() == was
        np.testing.assert_array_equal(out.detach().numpy(), array)


def test_what_is_returned_remembers_that_it_was_differentiated() -> None:
    twins = Twins(network(), classify)
    for number in range(4):
        loss = twins.step(*batch(seed=number))
    assert loss.requires_grad
    with pytest.raises(RuntimeError, match="already walked this graph"):
        loss.backward()


def test_threads_share_a_program() -> None:
    model = network().eval()
    with minidl.no_grad():
        compiled = minidl.compile(model, strict=True)
        inputs = [batch(seed=number)[0] for number in range(8)]
        wanted = [model(x).numpy() for x in inputs]
        for x in inputs[:3]:
            compiled(x)
    wrong: list[int] = []

    def work(number: int) -> None:
        with minidl.no_grad():
            for _ in range(200):
                if not np.array_equal(compiled(inputs[number]).numpy(), wanted[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(compiled.programs) == 1


def test_arrays_go_in_and_arrays_come_out() -> None:
    compiled = minidl.compile(lambda x, y: {"sum": np.sin(x) + y, "both": (x, y * 2)}, strict=True)
    x, y = np.linspace(0, 1, 4), np.float64(0.5) * np.ones(4)
    for _ in range(4):
        found = compiled(x, y)
        assert type(found["sum"]) is np.ndarray
        np.testing.assert_array_equal(found["sum"], np.sin(x) + y)
        assert found["both"][0] is x


def test_gradients_of_functions() -> None:
    def loss(w: Any, x: Any) -> Any:
        return minidl.sum(minidl.tanh(x @ w) ** 2)

    compiled = minidl.compile(minidl.value_and_grad(loss), strict=True)
    rng = np.random.default_rng(0)
    for _ in range(4):
        w, x = rng.normal(size=(3, 2)), rng.normal(size=(5, 3))
        assert same_bits(compiled(w, x), minidl.value_and_grad(loss)(w, x))
    assert len(compiled.programs) == 1
