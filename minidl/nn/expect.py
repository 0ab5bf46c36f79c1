"""What a layer expects of its input, and what it says where that is not met.

NumPy would broadcast or promote its way through much of this; a layer knows what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.autograd.primitive import describe
from minidl.ops.shape import shape_of


def same_dtype(name: str, x: Any, weight: Any) -> None:
    """Hold that an input has the dtype of a layer's weight.

    Raises
    ------
    TypeError
        It has another; NumPy would compute in the wider one, at half the speed or less.
    """
    if weight is None:
        return
    given, own = getattr(x, "dtype", None), weight.dtype
    if given == own or given is None:
        return
    if given.kind in "iub":
        raise TypeError(
            f"{name}: a floating input is wanted, got {describe(x)}; convert it with "
            f"x.astype(np.{own}) (pixels 0..255 also want scaling: x / 255)"
        )
    raise TypeError(
        f"{name}: the input is {given}, the parameters are {own}; convert the input with "
        f"x.astype(np.{own}), or the model with model.to(np.{given})"
    )


def one_dtype(name: str, inputs: Sequence[Any]) -> None:
    """Hold that all floating inputs have the dtype of the first.

    Raises
    ------
    TypeError
        One has another; NumPy would compute in the wider one, and its own numbers are float64.
    """
    first = getattr(inputs[0], "dtype", None) if inputs else None
    if first is None or first.kind != "f":
        return
    for number, other in enumerate(inputs[1:], 2):
        dtype = getattr(other, "dtype", first)
        if dtype.kind == "f" and dtype != first:
            raise TypeError(
                f"{name}: input 1 is {describe(inputs[0])}, input {number} is {describe(other)}; "
                f"make both one dtype, the latter with .astype(np.{first}) (a Tensor: "
                f".to(np.{first}))"
            )


def channels(name: str, argument: str, x: Any, wanted: int, axis: int, layout: str) -> None:
    """Hold the rank of an input, and its length in ``axis`` against the layer's argument.

    Parameters
    ----------
    argument
        What the constructor calls the number: ``in_channels``.
    layout
        The wanted axes, for messages and for their number: ``(N, C, H, W)``.

    Raises
    ------
    ValueError
        The input has too few axes or another number of channels.
    """
    shape, rank = shape_of(x), layout.count(",") + 1
    if len(shape) not in (rank, rank - 1):
        raise ValueError(
            f"{name}: an input {layout} is wanted, got {shape} with {len(shape)} axes; "
            + ("add the missing axes with x.reshape(…)" if len(shape) < rank else "reshape it")
        )
    found = shape[axis - rank]
    if found != wanted:
        raise ValueError(
            f"{name}: the input {shape} has {found} channels ({layout}), and {argument} is {wanted}"
            f"; make it {name}({argument}={found}, …), or leave {argument} out "
            f"(Lazy{name.removeprefix('Lazy')}, YAML)"
        )
