"""Table of `minidl.ops.ordering`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
