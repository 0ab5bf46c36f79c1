"""ReLU and max pooling that remember where the maxima were, and the first convolution before them.

A program knows in its forward pass that there is a backward one. So where the gradient of ReLU and
pooling together is all that reads the pooled image again, pooling notes the places of its maxima,
and the gradient goes by them. And where the image is the convolution of images of one channel, it
is never written: `minidl.kernels.first_layer` convolves, pools and forgets it, both ways.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from minidl.compiling.plan import KEEP_NOTHING
from minidl.compiling.recording import Instruction, Ref, Slot, read_by
from minidl.compiling.traced import draw
from minidl.kernels import direct, first_layer, selection
from minidl.kernels.conv import conv2d, conv2d_weight
from minidl.kernels.norm import channel_sum
from minidl.kernels.pool import max_pool2d, unpool


def with_places(
    instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
) -> list[Instruction]:
    """Return the instructions, with pooling that notes places; ``slots`` gains what that makes."""
    if not selection.possible() or all(i.function is not max_pool2d for i in instructions):
        return list(instructions)
    return _Search(instructions, slots, returned).run()


class _Search:
    """What is put in the stead of which instructions."""

    def __init__(
        self, instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
    ) -> None:
        self.instructions, self.slots = instructions, slots
        self.makers = {one.out: position for position, one in enumerate(instructions)}
        self.readers: dict[int, list[int]] = {number: [-1] for number in returned}
        for position, one in enumerate(instructions):
            for number in set(read_by(one)):
                self.readers.setdefault(number, []).append(position)
        self.instead: dict[int, list[Instruction]] = {}

    def run(self) -> list[Instruction]:
        for position, pooling in enumerate(self.instructions):
            if pooling.function is max_pool2d and pooling.kwargs == first_layer.WINDOWS:
                self._pooled(position, pooling)
        return [
            one
            for position, given in enumerate(self.instructions)
            for one in self.instead.get(position, [given])
        ]

    def _pooled(self, position: int, pooling: Instruction) -> None:
        image = _slot(pooling.args[0])
        if image is None or pooling.out is None or not _channels_last(self.slots[image]):
            return
        back = [reader for reader in self.readers[image] if reader != position]
        maker = self.makers.get(image, -1)
        first = maker >= 0 and self._is_first(self.instructions[maker])
        first = first and self._quiet(maker, position)
        if not back:
            if first:
                self.instead[maker] = []
                self.instead[position] = [self._forward(maker, pooling, pooling.out, placed=False)]
            return
        if len(back) > 1 or not self._undoes(back[0], pooling) or -1 in self.readers[pooling.out]:
            return
        shape, dtype = self.slots[pooling.out].shape, self.slots[image].dtype
        length = first_layer.packed_length(math.prod(shape), dtype)
        packed = self._slot((length,), dtype, (pooling.out,))
        view = _view(pooling, first_layer.maxima, packed, pooling.out, shape=shape)
        both = self._gradients(maker, back[0]) if first else None
        if both is not None:
            self.instead[maker] = []
            self.instead[position] = [self._forward(maker, pooling, packed, placed=True), view]
            self._backward(maker, back[0], packed, *both)
            return
        noting = replace(
            pooling,
            function=first_layer.max_pool2d,
            name="max_pool2d_places",
            args=pooling.args[:1],
            kwargs={},
            out=packed,
            taken=[((length,), dtype, True)],
        )
        self.instead[position] = [noting, view]
        n, c, *size = self.slots[image].shape
        undoing = self.instructions[back[0]]
        self.instead[back[0]] = [
            replace(
                undoing,
                function=first_layer.unpool,
                name="max_unpool2d_places",
                args=(undoing.args[0], Ref(packed)),
                kwargs={"image": (n, c, *size)},
                taken=[((n, *size, c), dtype, True)],
            )
        ]

    def _is_first(self, made: Instruction) -> bool:
        """Whether it is a convolution of one channel, and ReLU, such as are done directly."""
        if made.function is not conv2d or not made.kwargs.get("rectify"):
            return False
        x, weight, bias = (_slot(arg) for arg in made.args)
        if x is None or weight is None or (bias is None) != (made.args[2] is None):
            return False
        how = {name: made.kwargs[name] for name in ("stride", "padding", "dilation")}
        one, other = self.slots[x], self.slots[weight]
        channels = (one.shape[1], other.shape[0])
        return direct.pays(one, other, channels, other.shape[2:], how)

    def _quiet(self, begin: int, end: int) -> bool:
        """Whether nothing between two instructions may change an input or a parameter."""
        between = self.instructions[begin + 1 : end]
        return all(
            one.kind != "effect" or one.name in KEEP_NOTHING or one.function is draw
            for one in between
        )

    def _undoes(self, position: int, pooling: Instruction) -> bool:
        """Whether an instruction is the gradient of ReLU and pooling."""
        if position < 0:
            return False
        one = self.instructions[position]
        if one.function is not unpool or not one.kwargs.get("rectified"):
            return False
        g, image, top = (_slot(arg) for arg in one.args)
        if g is None or (image, top) != (_slot(pooling.args[0]), pooling.out):
            return False
        windows = {name: one.kwargs[name] for name in first_layer.WINDOWS}
        same = self.slots[g].dtype == self.slots[_slot(pooling.args[0]) or 0].dtype
        return windows == first_layer.WINDOWS and same

    def _gradients(self, maker: int, back: int) -> tuple[int, int] | None:
        """Find what makes the gradients of weight and bias, if they alone read what comes back."""
        made = self.instructions[maker]
        readers = self.readers.get(self.instructions[back].out or -1, [])
        if len(readers) != 2 or min(readers) < 0 or not self._quiet(back, max(readers)):
            return None
        ends = {self.instructions[n].function: n for n in readers}
        if set(ends) != {conv2d_weight, channel_sum}:
            return None
        weight = self.instructions[ends[conv2d_weight]]
        how = {"size": (3, 3), "padding": made.kwargs["padding"], **first_layer.STEP}
        if _slot(weight.args[1]) != _slot(made.args[0]) or weight.kwargs != how:
            return None
        return ends[conv2d_weight], ends[channel_sum]

    def _forward(self, maker: int, pooling: Instruction, out: int, *, placed: bool) -> Instruction:
        made = self.instructions[maker]
        slot = self.slots[_slot(pooling.args[0]) or 0]
        return replace(
            made,
            function=first_layer.conv2d_relu_pool,
            name="conv2d_relu_max_pool2d",
            kwargs={"padding": made.kwargs["padding"], "placed": placed},
            out=out,
            taken=first_layer.forward_asks(slot.shape, slot.dtype, placed),
        )

    def _backward(self, maker: int, back: int, packed: int, weight: int, bias: int) -> None:
        made, undoing = self.instructions[maker], self.instructions[back]
        image = self.slots[made.out or 0]
        ends = self.instructions[weight], self.instructions[bias]
        assert ends[0].out is not None
        assert ends[1].out is not None
        both = self._slot((10, image.shape[1]), image.dtype, (ends[0].out, ends[1].out))
        joined = replace(
            undoing,
            function=first_layer.conv2d_relu_pool_gradient,
            name="conv2d_relu_max_pool2d_gradient",
            args=(undoing.args[0], Ref(packed), made.args[0]),
            kwargs={"padding": made.kwargs["padding"], "size": image.shape[2:]},
            out=both,
            taken=first_layer.gradient_asks(image.shape, image.dtype),
        )
        self.instead[back] = [
            joined,
            _view(ends[0], first_layer.weight_of, both, ends[0].out),
            _view(ends[1], first_layer.bias_of, both, ends[1].out),
        ]
        self.instead[weight] = self.instead[bias] = []

    def _slot(self, shape: tuple[int, ...], dtype: Any, views: tuple[int, ...]) -> int:
        """Make a slot in whose memory those of ``views`` will lie."""
        root = 1 + max(slot.root for slot in self.slots)
        strides: list[int] = []
        step = dtype.itemsize
        for length in reversed(shape):
            strides.insert(0, step)
            step *= length
        self.slots.append(Slot("result", shape, dtype, tuple(strides), False, root))
        for number in views:
            old = self.slots[number].root
            for slot in self.slots:  # views of a view too
                slot.root = root if slot.root == old else slot.root
        return len(self.slots) - 1


def _slot(argument: Any) -> int | None:
    return argument.slot if isinstance(argument, Ref) else None


def _channels_last(slot: Slot) -> bool:
    """Whether images lie channels-last without gaps, and there are any."""
    _, c, h, w = slot.shape
    size = slot.dtype.itemsize
    wanted = (h * w * c * size, size, w * c * size, c * size)
    return (
        slot.dtype.kind == "f" and size in (4, 8) and slot.strides == wanted and 0 not in slot.shape
    )


def _view(one: Instruction, function: Any, packed: int, out: int, **kwargs: Any) -> Instruction:
    return replace(
        one,
        function=function,
        name=function.__name__,
        args=(Ref(packed),),
        kwargs=kwargs,
        out=out,
        taken=[],
        as_array=False,
    )
