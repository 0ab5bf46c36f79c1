"""Table of `minidl.ops.decompositions`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
