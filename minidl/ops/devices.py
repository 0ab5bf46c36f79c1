"""Moving arrays between the host and a device, differentiably."""

from __future__ import annotations

from typing import Any

from minidl.autograd import arrays
from minidl.autograd.primitive import Primitive, linear, place_of, primitive
from minidl.ops.batching import elementwise

__all__: list[str] = []

_moved: Primitive = primitive(
    "to_device",
    lambda x, *, device, origin: arrays.put(x, device),
    vjp=(lambda g, _out, _x, *, device, origin: _moved(g, device=origin, origin=device),),
    jvp=(linear,),
    view=True,
    batch=elementwise,
)


def to_device(x: Any, device: str) -> Any:
    """Return ``x`` on a device, or itself where it lies there already.

    The gradient goes the way back.

    Raises
    ------
    ValueError
        There is no such name of a device.
    RuntimeError
        The device is not there; the message says what to install.
    """
    place = place_of(x)
    if arrays.lies_on(place, device):
        return x
    return _moved(x, device=device, origin=arrays.device_of(place))
