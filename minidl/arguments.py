"""Bounds on arguments, declared once in a signature and held everywhere.

``in_features: Size`` says that a whole number of at least 1 is wanted. ``@checked`` makes the
constructor refuse anything else, and the YAML schema reads the same annotation, so that Python
and YAML users meet the same limits.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Bound:
    """Limits of a number; ``gt``/``lt`` exclude the limit, ``ge``/``le`` include it."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def admits(self, value: Any) -> bool:
        """Whether ``value`` lies within the limits (NaN never does)."""
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __str__(self) -> str:
        words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        limits = ((word, getattr(self, name)) for name, word in words.items())
        return " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


Size = Annotated[int, Bound(ge=1)]
Count = Annotated[int, Bound(ge=0)]
#: A size or a count for one, two or three spatial axes; a single number stands for all.
Size1: TypeAlias = Size | tuple[Size]
Size2: TypeAlias = Size | tuple[Size, Size]
Size3: TypeAlias = Size | tuple[Size, Size, Size]
Count1: TypeAlias = Count | tuple[Count]
Count2: TypeAlias = Count | tuple[Count, Count]
Count3: TypeAlias = Count | tuple[Count, Count, Count]
Positive = Annotated[float, Bound(gt=0)]
NonNegative = Annotated[float, Bound(ge=0)]
Probability = Annotated[float, Bound(ge=0, lt=1)]
Fraction = Annotated[float, Bound(ge=0, le=1)]


_KINDS: dict[Any, tuple[type, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


def check(name: str, value: Any, hint: Any) -> None:
    """Hold ``value`` against the bounds in ``hint``, however deep in unions and tuples they stand.

    Raises
    ------
    ValueError
        The value is a number (or holds one) outside its bounds.
    TypeError
        A number is wanted, or a whole number, and the value is none.
    """
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        wanted, words = _KINDS.get(kind, (object, ""))
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{name} must be {words}, got {value!r}")
        for note in notes:
            if isinstance(note, Bound) and not note.admits(value):
                raise ValueError(f"{name} must be {note}, got {value!r}")
        return
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        if isinstance(value, (tuple, list)):
            for part, element in zip(parts, value, strict=False):
                check(name, element, part)
    else:
        for part in parts:
            if get_origin(part) is not Annotated or isinstance(value, numbers.Real):
                check(name, value, part)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function whose annotations carry bounds: a call outside them raises ValueError."""
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        return get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints():
                check(name, value, hints()[name])
        return function(*args, **kwargs)

    return call
