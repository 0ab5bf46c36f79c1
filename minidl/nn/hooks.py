"""What runs around a module's forward and backward, for those who want to look or to change.

A backward hook wants to know when the gradients of all of a module's inputs are there. So the
module's inputs pass through one operation together, and its outputs through another: the walk
comes by the second with all gradients of the outputs, and by the first with all of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.autograd import recording
from minidl.autograd.custom import custom_vjp
from minidl.autograd.reverse import RemovableHandle
from minidl.tensor import Tensor


class ModuleHooks:
    """The hooks of one module."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[int, Callable[..., Any]]] = {
            "before": {},
            "after": {},
            "backward": {},
        }

    def add(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        """Register a hook."""
        return RemovableHandle.register(self.kinds[kind], hook)

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the module's forward with its hooks around it."""
        if any(self.kinds.values()):
            recording.refuse(f"a hook of {type(module).__name__}")
        for hook in list(self.kinds["before"].values()):
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watch = _BackwardWatch(module, self.kinds["backward"]) if self.kinds["backward"] else None
        if watch:
            args = watch.inputs(args)
        output = module.forward(*args, **kwargs)
        for hook in list(self.kinds["after"].values()):
            changed = hook(module, args, output)
            if changed is not None:
                output = changed
        return watch.outputs(output) if watch else output


class _BackwardWatch:
    """One call of a module with backward hooks."""

    def __init__(self, module: Any, hooks: dict[int, Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.grad_output: tuple[Any, ...] = ()

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Pass the arguments on; on the way back, call the hooks."""

        def back(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
            for hook in list(self.hooks.values()):
                changed = hook(self.module, gradients, self.grad_output)
                if changed is not None:
                    gradients = changed if isinstance(changed, tuple) else (changed,)
            return gradients

        return _through(args, back)

    def outputs(self, output: Any) -> Any:
        """Pass the output on; on the way back, remember its gradients."""

        def back(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
            self.grad_output = gradients
            return gradients

        several = isinstance(output, tuple)
        passed = _through(output if several else (output,), back)
        return passed if several else passed[0]


def _through(
    values: tuple[Any, ...], back: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """Return ``values``, through one node that shows ``back`` the gradients of all together."""
    places = [
        i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad
    ]
    if not places:
        return values

    @custom_vjp
    def same(*tensors: Any) -> Any:
        return tensors

    def shown(_: Any, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * len(values)
        for place, gradient in zip(places, gradients, strict=True):
            full[place] = gradient
        full = list(back(tuple(full)))
        return tuple(full[place] for place in places)

    same.defvjp(lambda *tensors: (tensors, ()), shown)
    passed = list(values)
    for place, value in zip(places, same(*(values[i] for i in places)), strict=True):
        passed[place] = value
    return tuple(passed)
