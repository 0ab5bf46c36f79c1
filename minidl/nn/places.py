"""Where in a model an error arose, told in its message.

A function knows the shapes that do not fit; the module that called it knows its settings; the
modules around it know its name. Each adds what it knows while the exception passes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minidl.autograd.primitive import describe

if TYPE_CHECKING:
    from minidl.nn.module import Module

#: Errors that a wrong call of a layer raises, and those of them whose message is told.
CALLER = (ValueError, TypeError, IndexError, RuntimeError, MemoryError)
TOLD = (ValueError, TypeError, IndexError, RuntimeError)


class Place:
    """What is known so far of the place of an error."""

    def __init__(self, error: BaseException, module: Module, inputs: tuple[Any, ...]) -> None:
        self.message = str(error)
        self.module = self.outermost = module
        #: The modules that the error came through, the innermost first.
        self.trail = [module]
        self.path: list[str] = []
        self.given = inputs
        self.inputs = ", ".join(map(_brief, inputs)) or "nothing"

    def within(self, parent: Module) -> None:
        """Note that ``parent`` called the module that the error came from."""
        for name, module in parent.named_modules():
            if module is self.outermost:
                self.path[:0] = name.split(".") if name else []
                break
        self.outermost = parent
        self.trail.append(parent)

    def __str__(self) -> str:
        first, rest, _ = repr(self.module).partition("\n")
        own = first.partition("  # ")[0] + (")" if rest else "")  # its children are left out
        where = f"{'.'.join(self.path)}: " if self.path else ""
        return f"{self.message}\n  in {where}{own}, given {self.inputs}"


def _brief(value: Any) -> str:
    if isinstance(value, (tuple, list)) and len(value) < 5:
        return f"({', '.join(map(_brief, value))})"
    text = describe(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def locate(error: Exception, module: Module, inputs: tuple[Any, ...]) -> None:
    """Add to an exception's message which module it passed through, and what that was given."""
    place: Place | None = getattr(error, "place", None)
    if place is None:
        place = error.place = Place(error, module, inputs)  # type: ignore[attr-defined]
    else:
        place.within(module)
    if type(error) in TOLD and len(error.args) == 1:  # another class has a message of its own
        error.args = (str(place),)
