"""Table of `minidl.ops.solvers`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
