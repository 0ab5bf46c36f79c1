"""Table of `minidl.ops.fft`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
