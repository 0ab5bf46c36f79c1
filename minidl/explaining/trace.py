"""The evaluation trace: every intermediate value, its tangent, its adjoint.

Nothing here computes a derivative. A level of its own (`TraceLevel`) sits on top of the engine's
and notes each operation as it passes; tangents come from forward mode and adjoints from the walk of
reverse mode through the same operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd.backward import fit, pull_back
from minidl.autograd.primitive import Box, Level, Primitive, as_array, box, clock
from minidl.autograd.reverse import Leaf, Node, ReverseLevel
from minidl.autograd.transforms import differentiable, jvp
from minidl.explaining.graph import Graph


@dataclass
class Step:
    """One line of a trace: an input, or an operation on earlier lines."""

    name: str
    operation: str
    #: Names of earlier lines, or constants as text.
    inputs: list[str]
    value: Any
    group: Any = None
    tangent: Any = None
    adjoint: Any = None
    #: Shares of adjoints, in the order in which the walk made them: (receiver, share).
    shares: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def formula(self) -> str:
        """The line as it is written: ``v3 = mul(v1, v2)``."""
        return f"{self.name} = {self.operation}({', '.join(self.inputs)})"


class TraceLevel(Level):
    """Run every operation one level down, and note it."""

    __slots__ = ("group", "names", "steps")

    def __init__(self, group: Callable[[], Any] | None = None) -> None:
        super().__init__(clock())
        self.steps: list[Step] = []
        self.group = group

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` and add a step."""
        values, inputs = [], []
        for arg in args:
            own = isinstance(arg, Box) and arg.level is self
            values.append(arg.value if own else arg)
            inputs.append(arg.trace.name if own else brief(arg))
        out = as_array(primitive(*values, **params))
        inputs += [f"{name}={_setting(value)}" for name, value in params.items()]
        step = Step(f"v{len(self.steps) + 1}", primitive.name, inputs, out)
        step.group = self.group() if self.group else None
        self.steps.append(step)
        return box(out, self, step)


def bottom(value: Any) -> Any:
    """Return the array in a box, however deep."""
    while isinstance(value, Box):
        value = value.value
    return np.asarray(value)


def brief(value: Any) -> str:
    """Show a number, or an array's first elements and shape."""
    array = bottom(value)
    if array.ndim == 0:
        return f"{array.item():.6g}" if array.dtype.kind == "f" else str(array.item())
    if array.size <= 4 and array.ndim == 1:
        return "[" + ", ".join(f"{v:.4g}" for v in array.tolist()) + "]"
    return f"{array.dtype}{list(array.shape)}"


def _setting(value: Any) -> str:
    return "True" if value is True else str(value)


@dataclass
class Explanation:
    """What `explain` found; ``print`` it, or see ``steps``, ``graph`` and ``compare()``."""

    function: Callable[..., Any]
    arguments: list[Any]
    inputs: list[Step]
    steps: list[Step]
    seed: int

    @property
    def output(self) -> Step:
        """The last line."""
        return self.steps[-1] if self.steps else self.inputs[0]

    @property
    def gradient(self) -> list[Any]:
        """Derivatives in all inputs, by reverse mode."""
        return [step.adjoint for step in self.inputs]

    @property
    def graph(self) -> Graph:
        """The computation as a graph."""
        graph = Graph()
        for step in [*self.inputs, *self.steps]:
            text = [step.operation, f"{step.name} = {brief(step.value)}"]
            if step.adjoint is not None:
                text.append(f"adjoint {brief(step.adjoint)}")
            graph.node(step.name, text, kind="input" if step in self.inputs else "operation")
        known = {step.name for step in [*self.inputs, *self.steps]}
        for step in self.steps:
            for name in step.inputs:
                if name in known:
                    graph.edge(name, step.name)
        return graph

    def compare(self, symbolic: str | None = None) -> Any:
        """Return the derivative four ways; see `minidl.explaining.compare`."""
        from minidl.explaining.compare import compare

        return compare(self.function, self.arguments, wrt=self.seed, symbolic=symbolic)

    def __str__(self) -> str:
        seed = self.inputs[self.seed].name
        rows = [("forward: value", f"tangent (d/d{seed})")]
        for step in [*self.inputs, *self.steps]:
            left = step.name if step in self.inputs else step.formula
            rows.append((f"{left} = {brief(step.value)}", f"{step.name}' = {brief(step.tangent)}"))
        lines = _columns(rows)
        lines.append("")
        lines.append("reverse: adjoints, last line first")
        lines.append(f"  {self.output.name}* = 1")
        for step in reversed(self.steps):
            for name, share in step.shares:
                lines.append(f"  {name}* += {brief(share)}   (from {step.name})")
        lines += [f"  d/d{step.name} = {brief(step.adjoint)}" for step in self.inputs]
        return "\n".join(lines)

    def _repr_svg_(self) -> str:
        return self.graph.svg()


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows)
    head, *rest = [f"{left:<{width}}   {right}" for left, right in rows]
    return [head, "-" * len(head), *rest]


def _traced(
    function: Callable[..., Any], values: Sequence[Any], names: Sequence[str]
) -> tuple[list[Step], list[Step], Any]:
    level = TraceLevel()
    inputs = [Step(name, "input", [], value) for name, value in zip(names, values, strict=True)]
    try:
        result = function(*(box(v, level, s) for v, s in zip(values, inputs, strict=True)))
    finally:
        level.closed = True
    if not isinstance(result, Box) or result.level is not level:
        raise ValueError("explain: the result does not depend on the inputs by minidl's operations")
    steps = level.steps[: level.steps.index(result.trace) + 1] if level.steps else []
    return inputs, steps, result.value


def explain(
    function: Callable[..., Any], *args: Any, names: Sequence[str] | None = None, seed: int = 0
) -> Explanation:
    """Run a function and show how its derivative is made.

    Parameters
    ----------
    function
        Returns a single number.
    args
        Float arrays or numbers.
    names
        Of the arguments; x1, x2, … by default.
    seed
        Which argument the tangents are taken in.

    Returns
    -------
    Explanation
        Its ``str`` is the evaluation trace; ``graph`` and ``compare()`` show more.

    Raises
    ------
    ValueError
        The result is not a single number, or depends on nothing.

    References
    ----------
    A. G. Baydin et al., "Automatic Differentiation in Machine Learning: a Survey", JMLR 18 (2018).

    Examples
    --------
    >>> import minidl
    >>> print(minidl.explain(lambda x: x * x + 2.0 * x, 3.0, names=["x"]))
    forward: value          tangent (d/dx)
    --------------------------------------
    x = 3                   x' = 1
    v1 = mul(x, x) = 9      v1' = 6
    v2 = mul(2, x) = 6      v2' = 2
    v3 = add(v1, v2) = 15   v3' = 8
    <BLANKLINE>
    reverse: adjoints, last line first
      v3* = 1
      v1* += 1   (from v3)
      v2* += 1   (from v3)
      x* += 2   (from v2)
      x* += 3   (from v1)
      x* += 3   (from v1)
      d/dx = 8
    """
    values = [differentiable(arg, "explain") for arg in args]
    labels = list(names) if names is not None else [f"x{i + 1}" for i in range(len(values))]
    if not values or len(labels) != len(values) or not 0 <= seed < len(values):
        raise ValueError(f"explain: {len(values)} arguments, {len(labels)} names, seed {seed}")
    level = ReverseLevel(clock())
    leaves = [Leaf(v.shape, v.dtype) for v in values]
    boxed = [box(v, level, leaf) for v, leaf in zip(values, leaves, strict=True)]
    inputs, steps, result = _traced(function, boxed, labels)
    if result.shape != ():
        raise ValueError(f"explain: a single number is wanted, the function gave {result.shape}")
    _note_adjoints(inputs, steps, result)
    level.closed = True

    def everything(*primals: Any) -> list[Any]:
        ins, outs, _ = _traced(function, primals, labels)
        return [step.value for step in [*ins, *outs]]

    directions = [np.full(v.shape, float(i == seed)) for i, v in enumerate(values)]
    _, tangents = jvp(everything, values, directions)
    for step, tangent in zip([*inputs, *steps], tangents, strict=True):
        step.tangent = tangent
        step.value = bottom(step.value)
    return Explanation(function, values, inputs, steps, seed)


def _note_adjoints(inputs: list[Step], steps: list[Step], result: Any) -> None:
    """Walk back by the engine, and note what each step gives to those before it."""
    traces = {}
    for step in [*inputs, *steps]:
        if isinstance(step.value, Box) and step.value.trace is not None:
            traces[step.value.trace] = step
    seeds = {result.trace: np.ones(())}
    found = pull_back(seeds, retain=True, targets=set(traces))
    for trace, step in traces.items():
        step.adjoint = found[trace][0] if trace in found else np.zeros(trace.shape)
    for trace, step in traces.items():
        if not isinstance(trace, Node) or trace.args is None:
            continue
        rules = trace.primitive.vjp
        for i, parent in trace.edges:
            if parent in traces and rules is not None:
                rule: Any = rules[i]
                share = rule(step.adjoint, trace.out, *trace.args, **trace.params)
                step.shares.append((traces[parent].name, fit(share, parent, trace.primitive)))
