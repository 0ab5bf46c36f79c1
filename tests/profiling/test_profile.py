"""What a profile holds: every operation once, the layer that it belongs to, and all of the time."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.autograd import backward
from minidl.autograd.primitive import Primitive
from minidl.profiling import Profile, phase, profile
from minidl.tensor import Tensor


class Block(nn.Module):
    """A layer twice, an operation of its own, and one that no attribute shows."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.inner = nn.Linear(6, 6, rng=rng)
        self.hidden = [nn.Tanh()]

    def forward(self, x: Any) -> Any:
        return self.hidden[0](self.inner(self.inner(x))) * 2.0


@pytest.fixture
def network() -> nn.Module:
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=rng), nn.Flatten(), nn.LazyLinear(6, rng=rng), Block(rng)
    )


@pytest.fixture
def trained(network: nn.Module) -> Profile:
    """Three steps of a small CNN."""
    loss_of = nn.CrossEntropyLoss()
    inputs = np.random.default_rng(1).standard_normal((8, 1, 6, 6)).astype(np.float32)
    labels = np.arange(8) % 6
    network(inputs)
    optimizer = optim.AdamW(network.parameters())
    with profile(network) as p:
        for _ in range(3):
            with phase("step"):
                optimizer.zero_grad()
                loss_of(network(Tensor(inputs)), labels).backward()
                optimizer.step()
    return p


def rows(table: Any) -> dict[str, Any]:
    return {row.name: row for row in table.rows}


def test_operations_are_counted_forward_and_backward(trained: Profile) -> None:
    found = rows(trained.by_operation())
    counts = {n: (r.calls, r.backward_calls) for n, r in found.items() if not n.startswith("[")}
    assert counts == {
        "conv2d": (3, 3),
        "reshape": (3, 3),
        "linear": (9, 9),  # one layer, and one that is called twice
        "tanh": (3, 3),
        "mul": (3, 3),
        "cross_entropy": (3, 3),
        "sum": (3, 3),
        "div": (3, 3),
    }
    assert found["conv2d"].bytes == 3 * 8 * 4 * 4 * 4 * 4
    assert found["reshape"].bytes == 0  # a view


def test_layers_have_the_names_of_the_model(trained: Profile) -> None:
    found = rows(trained.by_layer())
    assert [name for name in found if not name.startswith("[")] == [
        "Sequential",
        "0 Conv2d",
        "1 Flatten",
        "2 Linear",
        "3 Block",
        "3.inner Linear",
        "3.Tanh Tanh",
        "CrossEntropyLoss",
    ]
    assert found["3.inner Linear"].calls == 6
    assert found["0 Conv2d"].input == ((8, 1, 6, 6),)


def test_backward_belongs_to_the_layer_whose_forward_made_it(trained: Profile) -> None:
    pairs = {(event.name, str(event.layer)) for event in trained.events if event.kind == "backward"}
    assert pairs == {
        ("conv2d", "0 Conv2d"),
        ("reshape", "1 Flatten"),
        ("linear", "2 Linear"),
        ("linear", "3.inner Linear"),
        ("tanh", "3.Tanh Tanh"),
        ("mul", "3 Block"),
        ("cross_entropy", "CrossEntropyLoss"),
        ("sum", "CrossEntropyLoss"),
        ("div", "CrossEntropyLoss"),
    }
    found = rows(trained.by_layer())
    inner = ("3 Block", "3.inner Linear", "3.Tanh Tanh")
    assert found["3 Block"].backward_whole == pytest.approx(sum(found[n].backward for n in inner))
    assert found["3 Block"].forward_whole == pytest.approx(sum(found[n].forward for n in inner))


@pytest.mark.parametrize("table", ["by_operation", "by_layer", "by_phase"])
def test_every_table_accounts_for_all_of_the_time(trained: Profile, table: str) -> None:
    made = getattr(trained, table)()
    assert all(row.self_time >= 0 for row in made.rows)
    assert sum(row.self_time for row in made.rows) == pytest.approx(trained.seconds)
    covered = sum(row.self_time for row in made.rows if row.name != "[other]")
    assert 0.5 * trained.seconds < covered < trained.seconds
    third = getattr(trained, table)(per=3)
    assert sum(row.self_time for row in third.rows) == pytest.approx(trained.seconds / 3)


def test_shapes_divide_an_operation(trained: Profile) -> None:
    made = trained.by_operation(shapes=True)
    linear = {
        row.shapes: (row.calls, row.backward_calls) for row in made.rows if row.name == "linear"
    }
    assert linear == {((8, 64), (6, 64), (6,)): (3, 3), ((8, 6), (6, 6), (6,)): (6, 6)}
    assert "(8,64),(6,64),(6,)" in str(made).replace(", ", ",")


def test_phases(trained: Profile) -> None:
    found = rows(trained.by_phase(per=3))
    assert {name: row.calls for name, row in found.items()} == {
        "step": 1,
        "Sequential": 1,
        "CrossEntropyLoss": 1,
        "backward": 1,
        "optimizer": 1,
        "[other]": 0,
    }
    parts = sum(row.whole for name, row in found.items() if name not in ("step", "[other]"))
    assert found["step"].self_time == pytest.approx(found["step"].whole - parts)


def test_a_table_as_text(trained: Profile) -> None:
    head, rule, *body, _, last = str(trained.by_layer()).splitlines()
    assert head.split()[:3] == ["layer", "calls", "input"]
    assert set(rule) == {"-"}
    assert len(body) == len(trained.by_layer().rows)
    assert last == f"{trained.seconds * 1e3:.3f} ms in all"


# ---- the trace -----------------------------------------------------------------------------


def test_the_trace_is_of_the_format_and_nests(trained: Profile, tmp_path: Path) -> None:
    trained.chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["displayTimeUnit"] == "ms"
    assert [e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"] == [
        "minidl",
        "profiled thread",
    ]
    complete = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len(complete) == len(trained.events)
    open_until: list[float] = []
    for event in complete:
        assert set(event) == {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"}
        assert event["name"]
        assert event["pid"] == complete[0]["pid"]
        assert event["tid"] == complete[0]["tid"]
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        while open_until and open_until[-1] <= event["ts"]:
            open_until.pop()
        end = event["ts"] + event["dur"]
        assert not open_until or end <= open_until[-1] + 1e-3  # inside, or after: never across
        open_until.append(end)
    assert complete[-1]["ts"] + complete[-1]["dur"] <= trained.seconds * 1e6
    (first, *_) = [e for e in complete if e["name"] == "conv2d backward"]
    assert first["cat"] == "backward"
    assert first["args"] == {"input shapes": [[8, 1, 6, 6], [4, 1, 3, 3], [4]], "layer": "0 Conv2d"}


# ---- what is recorded, and what is not -----------------------------------------------------


def test_operations_inside_a_rule_count_for_the_rule() -> None:
    x = Tensor(np.ones((3, 3)), requires_grad=True)
    with profile() as p:
        minidl.linalg.inv(x + 3.0 * np.eye(3)).sum().backward()
    inner = [event for event in p.events if event.part]
    assert inner
    assert {event.kind for event in inner} == {"forward"}
    found = rows(p.by_operation())
    assert sum(row.self_time for row in found.values()) == pytest.approx(p.seconds)
    assert (found["inv"].calls, found["inv"].backward_calls) == (1, 1)


@pytest.mark.parametrize(
    ("transform", "calls"),
    [
        (lambda f, x: minidl.grad(lambda y: f(y).sum())(x), 1),
        (lambda f, x: minidl.vmap(f)(x), 1),
        (lambda f, x: minidl.jvp(f, (x,), (x,)), 1),
        (lambda f, x: minidl.no_grad()(f)(x), 1),
    ],
)
def test_an_operation_is_noted_once_however_many_transforms_it_passes(
    transform: Any, calls: int
) -> None:
    with profile() as p:
        transform(minidl.tanh, np.ones((2, 3)))
    assert rows(p.by_operation())["tanh"].calls == calls


def test_what_is_computed_again_counts_again() -> None:
    layer = nn.Linear(3, 3, rng=np.random.default_rng(0))
    with profile(layer) as p:
        minidl.checkpoint(layer, Tensor(np.ones((2, 3), np.float32))).sum().backward()
    found = rows(p.by_operation())
    assert (found["linear"].calls, found["linear"].backward_calls) == (2, 1)
    assert rows(p.by_layer())["Linear"].calls == 2
    assert sum(row.self_time for row in found.values()) == pytest.approx(p.seconds)
    assert [row.name for row in p.by_phase().rows][:2] == ["Linear", "backward"]


def test_other_models_get_names_of_their_own() -> None:
    rng = np.random.default_rng(0)
    one, two = (nn.Sequential(nn.Linear(2, 2, rng=rng), nn.ReLU()) for _ in range(2))
    x = minidl.ones(1, 2)
    with profile() as p:
        two(one(x))
    assert [str(event.layer) for event in p.events if event.kind == "layer"] == [
        "Sequential",
        "0 Linear",
        "1 ReLU",
        "Sequential (2)",
        "Sequential (2).0 Linear",
        "Sequential (2).1 ReLU",
    ]


def test_only_the_profiled_thread_is_recorded() -> None:
    x = minidl.ones(2)
    other = threading.Thread(target=lambda: [minidl.tanh(x) for _ in range(50)])
    with profile() as p:
        other.start()
        minidl.exp(x)
        other.join()
    assert [event.name for event in p.events] == ["exp"]


def test_an_exception_leaves_nothing_open_and_nothing_behind() -> None:
    plain = (Primitive.__call__, nn.Module.__call__, Tensor.backward, optim.Optimizer.step)
    layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    with profile() as p:
        for _ in range(2):
            with pytest.raises(ValueError, match="Linear"):
                layer(minidl.ones(1, 5))
        handle = (x := Tensor(np.ones(2), requires_grad=True)).register_hook(lambda g: g[:1])
        with pytest.raises(ValueError, match="a hook returned"):
            (x * x).sum().backward()
        handle.remove()
        minidl.exp(x)
    top = [event for event in p.events if event.parent is None]
    assert [event.name or str(event.layer) for event in top] == [
        *("Linear", "Linear", "mul", "sum", "backward", "exp")
    ]
    assert all(event.end for event in p.events)
    assert plain == (Primitive.__call__, nn.Module.__call__, Tensor.backward, optim.Optimizer.step)
    assert backward.watch is None


def test_a_profile_inside_another_is_refused() -> None:
    with (
        pytest.raises(RuntimeError, match="do not nest"),
        profile(),
        profile(),
    ):
        pass
    assert backward.watch is None


def test_tables_wait_for_the_end() -> None:
    with profile() as p, pytest.raises(RuntimeError, match="still runs"):
        p.by_operation()
    assert len(p.by_operation().rows) == 1  # [other]
    with pytest.raises(ValueError, match="at least 1 is wanted, got 0"):
        p.by_phase(per=0)


def test_a_phase_without_a_profile_does_nothing() -> None:
    @phase("validation")
    def validate() -> int:
        return 3

    assert validate() == 3
    with profile() as p:
        validate()
    assert [event.name for event in p.events] == ["validation"]
