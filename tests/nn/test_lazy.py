"""Lazy layers: what they become, and when."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from layertable import ones

from minidl import nn, optim

SPACE = {1: (6,), 2: (6, 5), 3: (4, 5, 6)}
CASES: list[tuple[str, Any, tuple[int, ...]]] = [("LazyLinear", lambda n: n.LazyLinear(3), (2, 5))]
for axes, space in SPACE.items():
    # The lambdas name the class by default argument: a loop's variable would be the last one.
    CASES += [
        (f"LazyConv{axes}d", lambda n, c=f"LazyConv{axes}d": getattr(n, c)(4, 3), (2, 3, *space)),
        (
            f"LazyConvTranspose{axes}d",
            lambda n, c=f"LazyConvTranspose{axes}d": getattr(n, c)(4, 3, stride=2),
            (2, 3, *space),
        ),
        (
            f"LazyBatchNorm{axes}d",
            lambda n, c=f"LazyBatchNorm{axes}d": getattr(n, c)(),
            (2, 3, *space),
        ),
        (
            f"LazyInstanceNorm{axes}d",
            lambda n, c=f"LazyInstanceNorm{axes}d": getattr(n, c)(
                affine=True, track_running_stats=True
            ),
            (2, 3, *space),
        ),
    ]
every_lazy = pytest.mark.parametrize(("name", "build", "shape"), CASES, ids=[c[0] for c in CASES])


def test_every_lazy_class_is_here() -> None:
    public = {name for name in nn.__all__ if name.startswith("Lazy")}
    assert public - {"Lazy"} == {name for name, _, _ in CASES}


@every_lazy
def test_becomes_the_layer_at_the_first_batch(name: str, build: Any, shape: Any) -> None:
    layer = build(nn).eval()
    assert repr(layer).startswith(name)
    called: list[Any] = []
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        made(ones(*shape))
        assert type(made).__name__ == name.removeprefix("Lazy")
    layer.register_forward_hook(lambda *_: called.append(1))
    out = layer(ones(*shape))
    assert type(layer) is getattr(nn, name.removeprefix("Lazy"))
    assert not layer.training
    assert called == [1]
    assert layer(ones(*shape)).shape == out.shape
    assert called == [1, 1]


@every_lazy
def test_state_is_that_of_torch(torch: Any, name: str, build: Any, shape: Any) -> None:
    ours, theirs = build(nn), build(torch.nn)
    ours(ones(*shape))
    theirs(torch.ones(*shape))
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    assert list(ours_state) == list(theirs_state)
    assert [t.shape for t in ours_state.values()] == [tuple(t.shape) for t in theirs_state.values()]


@every_lazy
def test_a_state_decides_too(name: str, build: Any, shape: Any) -> None:
    source, empty = build(nn), nn.Sequential(build(nn))
    source(ones(*shape))
    state = {f"0.{key}": value for key, value in source.state_dict().items()}
    empty.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    np.testing.assert_array_equal(
        empty.eval()(x).detach().numpy(), source.eval()(x).detach().numpy()
    )


def test_parameters_before_the_first_batch() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(4, bias=False))
    with pytest.raises(RuntimeError, match=r"LazyLinear\(out_features=4, bias=False\): its sizes"):
        optim.SGD(model.parameters())
    with pytest.raises(RuntimeError, match="give the model one batch"):
        model.state_dict()
    assert "(1): LazyLinear(out_features=4, bias=False)" in repr(model)
    model(ones(1, 2))
    assert len(list(model.parameters())) == 3
    with pytest.raises(RuntimeError, match="sizes are not known"):
        nn.Sequential(nn.LazyLinear(4)).load_state_dict({"1.weight": ones(4, 3)})


def test_lazy_of_any_class_with_sizes_to_infer() -> None:
    model = nn.Sequential(
        nn.Lazy(nn.LSTM, hidden_size=3, batch_first=True), nn.LastStep(), nn.Lazy(nn.LayerNorm)
    )
    assert model(ones(2, 4, 5)).shape == (2, 3)
    assert repr(model[0]).startswith("LSTM(5, 3, batch_first=True)")


def test_a_generator_draws_as_for_the_layer_itself() -> None:
    lazy = nn.LazyLinear(3, rng=np.random.default_rng(7))
    lazy(ones(1, 5))
    eager = nn.Linear(5, 3, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(lazy.weight.detach(), eager.weight.detach())
