"""Table of `minidl.ops.padding`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
