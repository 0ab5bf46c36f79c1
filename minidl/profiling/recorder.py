"""What is noted while a computation is profiled: events that lie in each other, and layers.

An event begins and ends on one clock, so events nest as calls do, and the time that an event spent
itself is its own less that of the events directly inside it. A node of the graph is not told which
layer made it. Nodes and modules draw their serial numbers from the engine's one clock: the module
that was running when a number was drawn made the node that bears it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter_ns
from typing import Any, Literal, TypeAlias

from minidl.autograd.primitive import Box, Primitive, clock
from minidl.autograd.reverse import Leaf, Node
from minidl.nn.module import Module

#: A call of a module, an operation's value, a node's share of the backward walk, or a phase.
Kind: TypeAlias = Literal["layer", "forward", "backward", "phase"]

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class Layer:
    """A module and the name that it goes by, such as ``layers.0``; the model itself has none."""

    def __init__(self, path: str, module: Module, root: str) -> None:
        self.path = path
        self.module = module
        self.root = root

    @property
    def kind(self) -> str:
        """The class's name; a lazy layer has become what it is by the time one asks."""
        return type(self.module).__name__

    @property
    def is_root(self) -> bool:
        """Whether this is an outermost module."""
        return not self.path

    def __str__(self) -> str:
        return f"{self.path} {self.kind}" if self.path else self.root or self.kind


class Event:
    """A piece of time, in nanoseconds; ``own`` is what was not spent in events inside it.

    ``part`` is true of an operation that another one is made of, and counts there.
    """

    __slots__ = (
        "begin",
        "bytes",
        "end",
        "kind",
        "layer",
        "name",
        "own",
        "parent",
        "part",
        "shapes",
    )

    def __init__(self, kind: Kind, name: str, layer: Layer | None, parent: Event | None) -> None:
        self.kind = kind
        self.name = name
        self.layer = layer
        self.parent = parent
        self.shapes: Shapes = ()
        self.bytes = 0
        self.own = self.end = 0
        inside_operation = parent is not None and parent.kind in _OPERATIONS
        self.part: bool = parent is not None and (
            parent.part or (kind == "forward" and inside_operation)
        )
        self.begin = perf_counter_ns()

    @property
    def whole(self) -> int:
        """From its begin to its end."""
        return self.end - self.begin


_OPERATIONS = ("forward", "backward")


class Recorder:
    """Takes down the events of one profiled block.

    Parameters
    ----------
    model
        Gives its modules their names. Others get theirs from the outermost module that is called.
    """

    def __init__(self, model: Module | None = None) -> None:
        self.events: list[Event] = []
        self.running: list[Event] = []
        self.layer: Layer | None = None
        self._layers: dict[int, Layer] = {}
        self._roots: list[str] = []
        self._serials: list[int] = []
        self._layer_since: list[Layer | None] = []
        self._shapes: dict[int, Shapes] = {}
        if model is not None:
            self._name_modules(model)

    def begin(self, kind: Kind, name: str, layer: Layer | None = None) -> Event:
        """Open an event inside the one that runs."""
        event = Event(kind, name, layer, self.running[-1] if self.running else None)
        self.events.append(event)
        self.running.append(event)
        return event

    def end(self, event: Event) -> None:
        """Close an event, and what an exception has left open inside it."""
        now = perf_counter_ns()
        while not event.end:
            self.running.pop().end = now

    def finish(self) -> None:
        """Close everything, and find what each event spent itself."""
        if self.running:
            self.end(self.running[0])
        for event in self.events:
            event.own += event.whole
            if event.parent is not None and not event.part:
                event.parent.own -= event.whole

    # ---- layers ----------------------------------------------------------------------------

    def enter(self, module: Module, args: tuple[Any, ...]) -> tuple[Event, Layer | None]:
        """Note that a module is called; `leave` wants back what this returns."""
        outer = self.layer
        layer = self._layers.get(id(module)) or self._new_layer(module)
        self._switch(layer)
        event = self.begin("layer", "", layer)
        event.shapes = shapes(args)
        return event, outer

    def leave(self, event: Event, outer: Layer | None) -> None:
        """Note that the module has returned."""
        self.end(event)
        self._switch(outer)

    def _switch(self, layer: Layer | None) -> None:
        self.layer = layer
        self._serials.append(clock())
        self._layer_since.append(layer)

    def layer_of(self, serial: int) -> Layer | None:
        """Return the layer that was running when a serial number was drawn."""
        place = bisect_right(self._serials, serial)
        return self._layer_since[place - 1] if place else None

    def _new_layer(self, module: Module) -> Layer:
        if self.layer is None:
            self._name_modules(module)
        else:  # it is no attribute of the modules above it: held in a list, or made in forward
            path = f"{self.layer.path}.{type(module).__name__}".lstrip(".")
            self._layers[id(module)] = Layer(path, module, self.layer.root)
        return self._layers[id(module)]

    def _name_modules(self, root: Module) -> None:
        kind = type(root).__name__
        again = self._roots.count(kind)
        self._roots.append(kind)
        label = f"{kind} ({again + 1})" if again else kind
        first = len(self._roots) == 1
        for name, module in root.named_modules():
            path = name if first or not name else f"{label}.{name}"
            self._layers.setdefault(id(module), Layer(path, module, label))

    # ---- operations ------------------------------------------------------------------------

    def computed(self, event: Event, primitive: Primitive, args: Sequence[Any], out: Any) -> None:
        """Note on what an operation worked, and what it made, after it has."""
        event.shapes = shapes(args)
        if isinstance(out, Box):
            if isinstance(out.trace, Node):
                self._shapes[out.trace.index] = event.shapes
            out = out.value
        event.bytes = 0 if primitive.view else int(getattr(out, "nbytes", 0))

    # ---- backward --------------------------------------------------------------------------

    def walk(self, order: Iterable[Any]) -> Iterator[Any]:
        """Hand out a walk's nodes, and take what passes until the next is asked for as the node's.

        So a node's time holds its rules, the sums over broadcast axes, and the accumulation.
        """
        above = self.running[-1] if self.running else None
        inside = above is not None and (above.kind, above.name) == ("phase", BACKWARD)
        whole = None if inside else self.begin("phase", BACKWARD)
        try:
            for node in order:
                if isinstance(node, Leaf):
                    yield node
                    continue
                event = self.begin("backward", node.primitive.name, self.layer_of(node.index))
                event.shapes = self._shapes.get(node.index, ())
                yield node
                self.end(event)
        finally:
            if whole is not None:
                self.end(whole)


BACKWARD = "backward"


def shapes(args: Iterable[Any]) -> Shapes:
    """Return the shapes of the arrays among arguments."""
    return tuple([arg.shape for arg in args if hasattr(arg, "shape")])
