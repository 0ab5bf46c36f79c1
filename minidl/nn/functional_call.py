"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidl.nn.module import Buffer, Module, Parameter
from minidl.tensor import Tensor


def functional_call(
    module: Module,
    params: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Return ``module(*args, **kwargs)``, computed with ``params`` in place of its own tensors.

    So a model is a function of its parameters: `minidl.grad`, `minidl.vmap` over many models and
    all other transforms apply. Not for two threads that share one module.

    Parameters
    ----------
    module
        Left as it was, whatever happens.
    params
        Arrays or Tensors by dotted name, as ``named_parameters`` gives them; buffers too. Names
        that are left out keep the module's own.
    args
        A tuple of arguments, or a single one.
    kwargs
        Named arguments.

    Raises
    ------
    ValueError
        A name is not one of the module's parameters or buffers, or a shape is not.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> from minidl import nn
    >>> layer = nn.Linear(2, 1)
    >>> loss = lambda params, x: nn.functional_call(layer, params, x).sum()
    >>> params = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    >>> minidl.grad(loss)(params, np.ones((3, 2), "f4"))["weight"]
    array([[3., 3.]], dtype=float32)
    """
    own = dict(module._named_tensors(Parameter, Buffer, once=False))
    unknown = [name for name in params if name not in own]
    if unknown:
        raise ValueError(
            f"functional_call: {type(module).__name__} has no {unknown}; it has {sorted(own)}"
        )
    for name, value in params.items():
        if tuple(value.shape) != own[name].shape:
            raise ValueError(
                f"functional_call: {name} has shape {tuple(value.shape)}, wanted {own[name].shape}"
            )
    # A tensor with two names is replaced at both, unless the second has a value of its own.
    shared = {id(own[name]): value for name, value in params.items()}
    replaced: list[tuple[Module, str, Any]] = []
    try:
        for prefix, owner in list(module._named_paths()):
            for attribute, tensor in list(vars(owner).items()):
                name = f"{prefix}.{attribute}" if prefix else attribute
                if name in params or id(tensor) in shared:
                    value = params[name] if name in params else shared[id(tensor)]
                    replaced.append((owner, attribute, tensor))
                    vars(owner)[attribute] = _as_buffer(value) if type(tensor) is Buffer else value
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for owner, attribute, before in reversed(replaced):
            vars(owner)[attribute] = before


def _as_buffer(value: Any) -> Any:
    """Make an array a Tensor, as layers update their running statistics in place."""
    return value if isinstance(value, Tensor) else Tensor(value)
