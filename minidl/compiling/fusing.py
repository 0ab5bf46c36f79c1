"""Neighbouring instructions that one kernel does in one pass.

Only where the second is all that reads the first's result: then nobody misses it. The kernels do
the same operations on each element in the same order, so the bits are those of the two.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from minidl.compiling.first_layer import with_places
from minidl.compiling.recording import Instruction, Ref, Slot, read_by
from minidl.kernels.affine import add_relu, add_turned
from minidl.kernels.conv import conv2d
from minidl.kernels.norm import batch_norm, scaled
from minidl.kernels.pool import unpool
from minidl.kernels.rectifying import relu, relu_gradient


def fused(
    instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
) -> list[Instruction]:
    """Put one instruction in the stead of two where there is a kernel for both."""
    readers: Counter[int | None] = Counter(slot for one in instructions for slot in read_by(one))
    readers.update(returned)
    found: list[Instruction] = []
    for instruction in instructions:
        before = found[-1] if found else None
        if before is not None and _follows(instruction, before) and readers[before.out] == 1:
            both = _both(before, instruction, slots)
            if both is not None:
                found[-1] = both
                continue
        found.append(instruction)
    return with_places(found, slots, returned)


def _follows(instruction: Instruction, before: Instruction) -> bool:
    """Whether an instruction is ReLU, or its gradient, of what the one before it made."""
    args = instruction.args
    return (
        instruction.function in (relu, relu_gradient)
        and before.kind == "compute"
        and before.out is not None
        and isinstance(args[0], Ref)
        and args[0].slot == before.out
    )


def _both(first: Instruction, second: Instruction, slots: Sequence[Slot]) -> Instruction | None:
    if second.function is relu_gradient:
        if first.function is unpool and first.args[1] == second.args[1]:
            return _with(first, second, "max_unpool2d_relu", rectified=True)
        return None
    if first.function is conv2d:
        return _with(first, second, "conv2d_relu", rectify=True)
    if first.function is batch_norm:
        return _with(first, second, "batch_norm_relu", rectify=True)
    if first.function is scaled:
        return _with(first, second, "scale_channels_relu", rectify=True)
    if first.kwargs:
        return None
    if first.function is add_turned:
        args = (*first.args, True)
        return replace(first, args=args, out=second.out, line=second.line)
    if first.function in (np.add, operator.add):
        x, bias = (slots[arg.slot] if isinstance(arg, Ref) else None for arg in first.args)
        if x is None or bias is None or x.scalar or bias.scalar:
            return None
        if len(x.shape) == 2 and bias.shape == x.shape[1:] and x.dtype == bias.dtype:
            return replace(
                first, function=add_relu, name="add_relu", out=second.out, line=second.line
            )
    return None


def _with(first: Instruction, second: Instruction, name: str, **more: bool) -> Instruction:
    """Return the first instruction, told to do the second's work too."""
    kwargs = first.kwargs | more
    return replace(first, kwargs=kwargs, name=name, out=second.out, line=second.line)
