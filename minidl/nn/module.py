"""Module: a function with parameters.

A module is plain data: its parameters, buffers and submodules are its attributes, found by
looking at them, so there is nothing to register and no base constructor to call. Names of
parameters are the attributes' names joined by dots, as in PyTorch, so weights carry over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from minidl.autograd import recording
from minidl.autograd.arrays import is_device, put
from minidl.autograd.reverse import RemovableHandle
from minidl.nn.hooks import ModuleHooks
from minidl.nn.places import CALLER, locate
from minidl.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a module learns: it requires a gradient unless told otherwise."""

    __slots__ = ()

    def __init__(
        self, data: Any, requires_grad: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state but is not learned: running statistics."""

    __slots__ = ()


class TransientBuffer(Buffer):
    """A buffer that can be made anew, and so has no place in ``state_dict``: a table, a mask."""

    __slots__ = ()


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and models: subclasses set attributes and define ``forward``.

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model(minidl.zeros(3, 4)).shape
    (3, 2)
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    training: bool = True

    #: Arguments that follow from the input's shape: the argument's name -> the axis of the input.
    infer: ClassVar[Mapping[str, int]] = {}

    #: The same from a state to load: the argument's name -> a tensor of the state, and its axis.
    infer_from_state: ClassVar[Mapping[str, tuple[str, int]]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; what subclasses define."""
        raise TypeError(f"{type(self).__name__} has no forward(); define what it computes there")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what ``forward`` computes, with the module's hooks around it.

        An error that arises in it says in which module, and what that was given.
        """
        hooks = self.__dict__.get("_hooks")
        if recording.open_recordings:
            recording.note(self)
        try:
            if hooks is None:
                return self.forward(*args, **kwargs)
            return hooks.run(self, args, kwargs)
        except CALLER as error:
            locate(error, self, args)
            raise

    # ---- hooks -----------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[[Module, tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before each ``forward``.

        What it returns, if not None, takes the arguments' place (a tuple, or a single argument).
        """
        return self._own_hooks().add("before", hook)

    def register_forward_hook(
        self, hook: Callable[[Module, tuple[Any, ...], Any], Any]
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each ``forward``.

        What it returns, if not None, takes the output's place.
        """
        return self._own_hooks().add("after", hook)

    def register_full_backward_hook(
        self, hook: Callable[[Module, tuple[Any, ...], tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients have been computed.

        Both are tuples with one entry a positional argument or output, None where there is no
        gradient. What the hook returns, if not None, takes the place of ``grad_input``.
        """
        return self._own_hooks().add("backward", hook)

    def _own_hooks(self) -> ModuleHooks:
        hooks: ModuleHooks = self.__dict__.setdefault("_hooks", ModuleHooks())
        return hooks

    # ---- what is in it ---------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules that are attributes of this one, with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the modules that are attributes of this one."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each once, with their dotted names."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            below = [
                (f"{name}.{key}" if name else key, child) for key, child in module.named_children()
            ]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name; the empty name is this module.

        Raises
        ------
        AttributeError
            There is no module of this name.
        """
        module = self
        for name in target.split(".") if target else ():
            child = vars(module).get(name)
            if not isinstance(child, Module):
                there = [key for key, _ in module.named_children()]
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: {type(module).__name__} has "
                    f"{there}, not {name!r}"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name.

        Raises
        ------
        AttributeError
            There is no parameter of this name.
        """
        path, _, name = target.rpartition(".")
        found = vars(self.get_submodule(path)).get(name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def add_module(self, name: str, module: Module | None) -> None:
        """Set a module as attribute ``name``, which may be computed.

        Raises
        ------
        ValueError
            The name is empty or has a dot in it.
        """
        if not name or "." in name:
            raise ValueError(f"add_module: a name without dots is wanted, got {name!r}")
        setattr(self, name, module)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set a parameter as attribute ``name``; the same as assigning it."""
        setattr(self, name, parameter)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set a buffer as attribute ``name``; one that is not persistent is no part of the state.

        Parameters
        ----------
        tensor
            An array, or None for no buffer.
        """
        kind = Buffer if persistent else TransientBuffer
        setattr(self, name, None if tensor is None else kind(tensor))

    def _named_paths(
        self, prefix: str = "", above: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Module]]:
        """Yield every module by every name: one that is used twice has two, as in PyTorch."""
        yield prefix, self
        above = (*above, self)
        for key, child in self.named_children():
            if not any(child is module for module in above):
                yield from child._named_paths(f"{prefix}.{key}" if prefix else key, above)

    def _named_tensors(
        self, *kinds: type[Tensor], once: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules() if once else self._named_paths():
            module.require_sizes()
            # Kind by kind, so that a module's parameters come before its buffers, as in PyTorch.
            for kind in kinds:
                for name, value in vars(module).items():
                    if isinstance(value, kind) and not (once and id(value) in seen):
                        seen.add(id(value))
                        yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter once, with its dotted name."""
        return self._named_tensors(Parameter)  # type: ignore[return-value]

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield every buffer once, with its dotted name."""
        return self._named_tensors(Buffer)  # type: ignore[return-value]

    def buffers(self) -> Iterator[Buffer]:
        """Yield every buffer once."""
        return (buffer for _, buffer in self.named_buffers())

    # ---- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name, as constants that share their memory."""
        return {name: tensor.detach() for name, tensor in self._named_state()}

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self._named_tensors(Parameter, Buffer, once=False):
            if not isinstance(tensor, TransientBuffer):
                yield name, tensor

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy arrays into parameters and buffers, by name, converting the dtype.

        Parameters
        ----------
        state
            Tensors or ndarrays, as `state_dict` gives them.
        strict
            Missing and unexpected names are errors; otherwise they are returned.

        Raises
        ------
        ValueError
            Names or shapes do not fit: all of them are listed, and nothing has been changed.
        """
        for prefix, module in self._named_paths():
            module.prepare_to_load(state, f"{prefix}." if prefix else "")
        own = dict(self._named_state())
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        misshaped = [
            f"{name}: wanted {own[name].shape}, got {tuple(np.shape(state[name]))}"
            for name in own
            if name in state and own[name].shape != tuple(np.shape(state[name]))
        ]
        wrong = {"of another shape": misshaped}
        if strict:
            wrong |= {"missing": missing, "unexpected": unexpected}
        if any(wrong.values()):
            lines = [f"  {kind}: {entry}" for kind, entries in wrong.items() for entry in entries]
            raise ValueError(f"load_state_dict into {type(self).__name__}:\n" + "\n".join(lines))
        for name, tensor in own.items():
            if name in state:
                tensor.copy_(state[name])
        return IncompatibleKeys(missing, unexpected)

    def require_sizes(self) -> None:
        """Raise where the module has no tensors yet; what lazy modules define."""

    def prepare_to_load(self, state: Mapping[str, Any], prefix: str) -> None:
        """Make tensors whose shapes only ``state`` knows; what lazy modules define."""

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (dropout on, batch statistics)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all below it to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = None

    def to(
        self,
        target: DTypeLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> Self:
        """Convert floating parameters and buffers, or move all; before an optimizer is made.

        Parameters
        ----------
        target
            A floating dtype, or a device by its name: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

        Raises
        ------
        TypeError
            The dtype is not floating.
        ValueError
            There is no such name of a device.
        RuntimeError
            The device is not there; the message says what to install.
        """
        if is_device(target):
            device = str(target)
        elif target is not None:
            dtype = target
        if dtype is not None:
            self._convert(dtype)
        if device is not None:
            put(np.zeros(()), device)  # raises before anything is moved
            for _, tensor in self._named_tensors(Parameter, Buffer):
                gradient = tensor.grad
                self._replace(tensor, put(tensor.value, device))
                if gradient is not None:
                    tensor.grad = gradient.to(device)
        return self

    def cpu(self) -> Self:
        """Move all parameters and buffers to the host."""
        return self.to("cpu")

    @staticmethod
    def _replace(tensor: Tensor, value: Any) -> None:
        wanted = tensor.requires_grad
        tensor.requires_grad_(False)
        tensor.value = value
        tensor.requires_grad_(wanted)

    def _convert(self, dtype: DTypeLike) -> None:
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"to: a floating dtype is wanted, got {np.dtype(dtype)}")
        for _, tensor in self._named_tensors(Parameter, Buffer):
            if tensor.dtype.kind == "f" and tensor.dtype != dtype:
                self._replace(tensor, tensor.value.astype(dtype))

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(np.float64)

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(np.float32)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on every module below this one, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ---- what it says of itself ------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the arguments shown in the repr; what subclasses define."""
        return ""

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        own = [
            f"{name} {tuple(value.shape)}"
            for name, value in vars(self).items()
            if isinstance(value, (Parameter, Buffer)) and value.ndim
        ]
        try:
            count = sum(parameter.numel() for parameter in self.parameters())
        except RuntimeError:  # there is a lazy layer below, which does not know
            count = 0
        notes = "; ".join([*own, f"{count:,} parameters"]) if count else "; ".join(own)
        comment = f"  # {notes}" if notes else ""
        children = list(self.named_children())
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not children:
            return [f"{head}){comment}"]
        lines = [f"{head}{comment}"]
        for name, child in children:
            first, *rest = child._lines()
            lines.append(f"  ({name}): {first}")
            lines.extend(f"  {line}" for line in rest)
        return [*lines, ")"]
