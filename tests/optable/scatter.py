"""Table of `minidl.ops.scatter`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
