"""Fused operations against the compositions that they stand for: values, both modes, any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.autograd.primitive import Primitive
from minidl.ops import activation, attention, channels, gates, normalization

RNG = np.random.default_rng(5)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


#: Operation, arguments that are differentiated, arguments behind them that are not, parameters.
FUSED: dict[str, tuple[Primitive, tuple[Any, ...], tuple[Any, ...], dict[str, Any]]] = {
    "gelu": (activation._gelu, (draw(3, 4),), (), {}),
    "lstm_memory": (gates.lstm_memory, (draw(3, 8), draw(3, 2)), (), {}),
    "lstm_memory of one": (gates.lstm_memory, (draw(8), draw(2)), (), {}),
    "lstm_shown": (gates.lstm_shown, (draw(3, 8), draw(3, 2)), (), {}),
    "attention's gradient": (attention._weigh, (draw(2, 3, 4), draw(2, 3, 4)), (), {}),
}


def batch_norm(x: np.ndarray) -> Any:
    moments = normalization._moments(x)
    return normalization._batch_norm, (x, draw(2), draw(2)), (moments,), {"eps": 1e-5}


def layer_norm(x: np.ndarray, *shape: int, eps: float) -> Any:
    how = {"length": int(np.prod(shape)), "eps": eps}
    moments = normalization._row_moments(x, **how)
    return normalization._layer_norm, (x, draw(*shape), draw(*shape)), (moments,), how


FUSED["scale_channels"] = (
    channels._scaled, (draw(3, 2, 2, 3), draw(2), draw(2), draw(2)), (), {}
)  # fmt: skip
FUSED["layer_norm"] = layer_norm(draw(2, 3, 4), 4, eps=1e-5)
FUSED["layer_norm of two axes"] = layer_norm(draw(2, 3, 2), 3, 2, eps=1e-3)
FUSED["layer_norm of long rows"] = layer_norm(draw(2, 37), 37, eps=1e-5)


def joint_attention(x: np.ndarray, heads: int) -> Any:
    how = {"heads": heads, "scale": 0.6}
    return attention._joint_attention, (x,), (attention._probabilities(x, **how),), how


FUSED["joint_attention"] = joint_attention(draw(2, 3, 12), 2)
FUSED["joint_attention of one"] = joint_attention(draw(2, 1, 6), 1)
FUSED["batch_norm"] = batch_norm(draw(4, 2))
FUSED["batch_norm of images"] = batch_norm(draw(3, 2, 2, 3))
FUSED["batch_norm of images, channels last"] = batch_norm(draw(3, 2, 3, 2).transpose(0, 3, 1, 2))

BATCH = normalization._moments

#: The constants that some keep of their input, made anew where it is varied.
KEPT = {
    "batch_norm": BATCH,
    "layer_norm": normalization._row_moments,
    "joint_attention": attention._probabilities,
}

every = pytest.mark.parametrize("name", FUSED)


def call(name: str) -> tuple[Any, Any, tuple[Any, ...]]:
    """The operation and its composition, as functions of what is differentiated."""
    operation, args, constants, params = FUSED[name]
    composed = operation.composed
    assert composed is not None
    return (
        lambda *values: operation(*values, *constants, **params),
        lambda *values: composed(*values, *constants, **params),
        args,
    )


@every
def test_the_value_is_the_compositions(name: str) -> None:
    operation, composed, args = call(name)
    np.testing.assert_allclose(operation(*args), composed(*args), rtol=1e-12, atol=1e-14)


@every
def test_the_gradients_are_the_compositions(name: str) -> None:
    operation, composed, args = call(name)
    out, pull = minidl.vjp(operation, *args)
    g = RNG.standard_normal(out.shape)
    for found, wanted in zip(pull(g), minidl.vjp(composed, *args)[1](g), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-13)


# The moments are not given anew where the input is varied, so a norm's value is checked at
# the composition, which takes them from the input.
@every
def test_first_and_second_derivatives_are_right(name: str) -> None:
    operation, _, args = call(name)
    kept = next((made for start, made in KEPT.items() if name.startswith(start)), None)
    if kept is not None:
        one, _, _, how = FUSED[name]

        def of_input(x: Any, *rest: Any) -> Any:
            return one(x, *rest, kept(x) if kept is BATCH else kept(x, **how), **how)

        operation = of_input
    gradcheck(operation, args)
    gradgradcheck(operation, args)


@every
def test_tangents(name: str) -> None:
    operation, composed, args = call(name)
    tangents = [RNG.standard_normal(x.shape) for x in args]
    found, wanted = (minidl.jvp(f, args, tangents) for f in (operation, composed))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


@every
def test_examples(name: str) -> None:
    """Under vmap, over one argument alone and over all."""
    operation, _, args = call(name)
    if name.startswith(tuple(KEPT)):
        pytest.skip("the constants of the table are one example's; see tests/optable")
    many = tuple(np.stack([x, 2.0 * x, -x]) for x in args)
    for i, each in enumerate(many):

        def of_one(x: Any, i: int = i) -> Any:
            return operation(*args[:i], x, *args[i + 1 :])

        alone = minidl.vmap(of_one)(each)
        np.testing.assert_allclose(alone, [of_one(x) for x in each], rtol=1e-12, atol=1e-14)
    whole = minidl.vmap(operation)(*many)
    wanted = [operation(*each) for each in zip(*many, strict=True)]
    np.testing.assert_allclose(whole, wanted, rtol=1e-12, atol=1e-14)


def test_float32_is_kept() -> None:
    for name in FUSED:
        operation, _, args = call(name)
        small = [x.astype(np.float32) for x in args]
        if name.startswith("batch_norm"):
            continue  # its moments here are float64's; see test_layers
        out, pull = minidl.vjp(operation, *small)
        assert out.dtype == np.float32, name
        assert {g.dtype for g in pull(np.ones_like(out))} == {np.dtype(np.float32)}, name


def test_attention_of_a_joint_projection_is_that_of_its_parts() -> None:
    joint = draw(2, 5, 12)
    parts = (joint[..., i : i + 4].reshape(2, 5, 2, 2).swapaxes(1, 2) for i in (0, 4, 8))
    wanted = attention.scaled_dot_product_attention(*parts).swapaxes(1, 2).reshape(2, 5, 4)
    np.testing.assert_allclose(attention.joint_attention(joint, 2), wanted, rtol=1e-12)
    many = minidl.vmap(lambda x: attention.joint_attention(x, 2))(np.stack([joint, -joint]))
    np.testing.assert_allclose(many[0], wanted, rtol=1e-12)
    assert attention.joint_attention(joint[:0], 2).shape == (0, 5, 4)
    assert attention.joint_attention(joint[:, :0], 2).shape == (2, 0, 4)


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_without_weights_is_attention_with_them(batch_first: bool) -> None:
    layer = nn.MultiheadAttention(4, 2, batch_first=batch_first, dtype=np.float64)
    x = draw(3, 2, 4)

    def loss(x: Any, need_weights: bool) -> Any:
        return minidl.sum(layer(x, x, x, need_weights=need_weights)[0] ** 2)

    layer.requires_grad_(False)
    found, wanted = (minidl.grad(loss)(x, which) for which in (False, True))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
