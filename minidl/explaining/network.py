"""Drawing a model: its layers, and the shapes of what flows between them."""

from __future__ import annotations

from typing import Any

from minidl.autograd.primitive import Box, box, no_grad
from minidl.explaining.graph import Graph
from minidl.explaining.trace import Step, TraceLevel, bottom
from minidl.nn.module import Module


def draw(model: Module, *inputs: Any) -> Graph:
    """Run a model on ``inputs`` and return the graph of its layers.

    A module without modules in it is one node, with the number of its parameters; operations
    between layers (a sum of branches, a reshape) are nodes of their own.

    Raises
    ------
    ValueError
        The output does not depend on the inputs.

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> print(minidl.draw(net, minidl.zeros(5, 4)).text())
    input: input; (5, 4)
    0: Linear; 15 parameters  <- input [(5, 4)]
    1: ReLU  <- 0 [(5, 3)]
    2: Linear; 8 parameters  <- 1 [(5, 3)]
    output: output; (5, 2)  <- 2 [(5, 2)]
    """
    stack: list[str] = []
    names = {id(module): name or type(model).__name__ for name, module in model.named_modules()}
    calls: dict[str, int] = {}

    def enter(module: Module, _: Any) -> None:
        name = names[id(module)]
        calls[name] = calls.get(name, 0) + 1
        stack.append(name if calls[name] == 1 else f"{name} (call {calls[name]})")

    def leave(*_: Any) -> None:
        stack.pop()

    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    level = TraceLevel(group=lambda: stack[-1] if stack else None)
    handles = [module.register_forward_pre_hook(enter) for module in leaves]
    handles += [module.register_forward_hook(leave) for module in leaves]
    boxed = []
    for i, value in enumerate(inputs):
        name = "input" if len(inputs) == 1 else f"input {i + 1}"
        array = bottom(value)
        boxed.append(box(array, level, Step(name, "input", [], array, group=name)))
    try:
        with no_grad():
            output = model(*boxed)
    finally:
        level.closed = True
        for handle in handles:
            handle.remove()
    if not isinstance(output, Box) or output.level is not level:
        raise ValueError("draw: the output is not one Tensor that depends on the inputs")
    modules = {names[id(module)]: module for module in leaves}
    return _grouped(level.steps, boxed, output.trace, modules)


def _grouped(steps: list[Step], inputs: list[Any], last: Step, modules: dict[str, Module]) -> Graph:
    graph, shapes, group_of = Graph(), {}, {}
    for value in inputs:
        step = value.trace
        graph.node(step.name, ["input", str(tuple(bottom(step.value).shape))], kind="input")
        group_of[step.name], shapes[step.name] = step.name, tuple(bottom(step.value).shape)
    for step in steps:
        group = step.group or step.name
        before = [name for name in step.inputs if name in group_of]
        if not before:
            continue  # made of constants and parameters only
        group_of[step.name], shapes[step.name] = group, tuple(bottom(step.value).shape)
        if group not in graph.nodes:
            module = modules.get(group.split(" (call")[0]) if step.group else None
            lines = [type(module).__name__ if module else step.operation]
            count = sum(p.numel() for p in module.parameters()) if module else 0
            graph.node(group, lines + ([f"{count:,} parameters"] if count else []), kind="layer")
        for name in before:
            edge = (group_of[name], group, str(shapes[name]))
            if edge[0] != group and edge not in graph.edges:
                graph.edges.append(edge)
    shape = str(tuple(bottom(last.value).shape))
    graph.node("output", ["output", shape], kind="input")
    graph.edge(group_of[last.name], "output", shape)
    return graph
