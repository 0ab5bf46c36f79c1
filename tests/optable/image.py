"""Table of `minidl.ops.image`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
