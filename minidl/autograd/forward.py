"""Forward mode: a box carries its tangent along, and every operation pushes it.

The tangent of the result is the sum over the arguments of what the jvp rules give; the engine
broadcasts it to the result's shape and casts it to the result's dtype, so that rules need not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import anomaly
from minidl.autograd.arrays import others
from minidl.autograd.primitive import (
    Box,
    Level,
    Primitive,
    as_array,
    box,
    linear,
    recording_floor,
    together,
    zeros_like,
)


class ForwardLevel(Level):
    """Run operations on dual values: boxes whose ``trace`` is a tangent."""

    __slots__ = ()

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` one level down and push the tangents of its arguments."""
        self.check_open(primitive)
        values = list(args)
        tangents: list[tuple[int, Any]] = []
        for i, arg in enumerate(args):
            if isinstance(arg, Box) and arg.level is self:
                values[i] = arg.value
                tangents.append((i, arg.trace))
        if others:
            values = together(values) or values
        out = as_array(primitive(*values, **params))
        rules = primitive.jvp
        if rules is None or recording_floor.get() > self.serial:
            return out
        if callable(rules):
            given = dict(tangents)
            parts = [given[i] if i in given else zeros_like(v) for i, v in enumerate(values)]
            return box(out, self, fit(primitive(*parts, **params), out, primitive))
        watching = anomaly.watching()
        total = None
        for i, tangent in tangents:
            rule = rules[i]
            if rule is None:
                continue
            if rule is linear:
                share = primitive(*values[:i], tangent, *values[i + 1 :], **params)
            elif watching:
                with anomaly.in_a_rule():
                    share = rule(tangent, out, *values, **params)
                anomaly.check(primitive.name, "tangent", share, (tangent, out, *values), None)
            else:
                share = rule(tangent, out, *values, **params)
            share = fit(share, out, primitive)
            total = share if total is None else total + share
        return out if total is None else box(out, self, as_array(total))


def fit(tangent: Any, out: Any, primitive: Primitive) -> Any:
    """Give a rule's result the shape and dtype of the operation's result.

    Raises
    ------
    RuntimeError
        It does not broadcast to that shape: the rule is wrong.
    """
    if tangent.shape != out.shape:
        try:
            tangent = np.broadcast_to(tangent, out.shape)
        except ValueError as error:
            raise RuntimeError(
                f"{primitive.name}: a jvp rule returned shape {tangent.shape} for a result of "
                f"shape {out.shape}"
            ) from error
    if tangent.dtype != out.dtype:
        tangent = tangent.astype(out.dtype)
    return tangent
