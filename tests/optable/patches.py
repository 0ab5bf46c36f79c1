"""Table of `minidl.ops.patches`: nothing in it is public; convolutions and pools reach it."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
