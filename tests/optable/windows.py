"""Table of `minidl.ops.windows`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
