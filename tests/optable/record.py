"""What an entry of the op table says, and the ways to write one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional
from optable.samples import Rng, Sample

Error = tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]


@dataclass(frozen=True, eq=False)  # an entry is itself: its errors hold arrays
class Op:
    """One public function: how to call it, what must come out, what must be refused."""

    #: Below ``minidl`` ("linalg.det"), or in `minidl.nn.functional`.
    name: str
    samples: Callable[[Rng], Iterable[Sample]]
    reference: Callable[..., Any]
    #: Dotted name below ``torch``, or a function of the torch module and the arguments.
    torch: str | Callable[..., Any] | None = None
    errors: tuple[Error, ...] = ()
    #: False: the result is a constant to every transform.
    differentiable: bool = True
    #: The reference is one NumPy function, and `minidl.numpy_protocols` takes it.
    protocol: bool = False
    #: float32 in, float32 out.
    follows_dtype: bool = True
    #: In place of the public function, where that wants a generator or something else that lasts,
    #: or where its result is unique only up to signs or order.
    function: Callable[..., Any] | None = None
    #: How near values are to the reference: in float64, and float32's to float64's.
    rtol: float = 1e-12
    float32_rtol: float = 2e-5
    #: Draws random numbers: a draw inside vmap is shared by all examples.
    random: bool = False
    #: Why vmap refuses it (the result's shape depends on values); that it does is tested.
    no_vmap: str = ""

    @property
    def public(self) -> Any:
        for root in (minidl, functional):
            try:
                return reduce(getattr, self.name.split("."), root)
            except AttributeError:
                continue
        raise AttributeError(f"{self.name} is neither in minidl nor in minidl.nn.functional")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self.function or self.public)(*args, **kwargs)

    def __repr__(self) -> str:
        return self.name


def bad(*args: Any, raises: type[Exception], match: str, **kwargs: Any) -> Error:
    return args, kwargs, raises, match


def of(shape: tuple[int, ...], dtype: Any = float) -> Any:
    return np.ones(shape, dtype)


REDUCE_ERRORS = (
    bad(of((2, 3)), 2, raises=IndexError, match=r"dim 2 is out of range for 2 .*-2 to 1"),
    bad(of((2, 3)), (0, -2), raises=ValueError, match="names an axis twice"),
)
FLOAT_ERRORS = (
    *REDUCE_ERRORS,
    bad(of((2,), int), raises=TypeError, match="floating dtype is wanted, got int64"),
)
SHAPES_DIFFER = bad(of((2, 3)), of((4,)), raises=ValueError, match=r"float64\[2, 3\], float64\[4\]")
