"""Optimizer: groups of parameters with their settings, laid out flat, and their state.

A subclass names its settings and state and defines `update`, its formula on flat arrays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, get_type_hints

import numpy as np

from minidl import arguments
from minidl.autograd.arrays import like
from minidl.autograd.primitive import bottom
from minidl.autograd.recording import effect
from minidl.optim.flat import FlatParameters, Segment
from minidl.tensor import Tensor

#: What PyTorch's groups hold beside an optimizer's settings, without effect on its result.
_WITHOUT_EFFECT = {"params", "initial_lr", "foreach", "fused", "capturable", "differentiable"}


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    params
        Leaf Tensors, or dicts with ``"params"`` and settings of their own. One that requires no
        gradient (a frozen parameter) is left alone until it does.
    defaults
        Settings of groups that do not give them.

    Raises
    ------
    ValueError
        There are no parameters, or one is in two groups.
    TypeError
        Something is not a leaf Tensor of a floating dtype, or a single one is given bare.
    """

    #: Names of the arrays kept for each parameter.
    state_names: ClassVar[tuple[str, ...]] = ()
    #: State that a saved optimizer may lack, and the setting without which it may.
    optional_state: ClassVar[Mapping[str, str]] = {}
    #: Settings of PyTorch's optimizer of this name that this one has for good.
    fixed: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        # What a subclass does in a step is done at each replay of a recorded one.
        for name in ("step", "zero_grad"):
            if name in vars(cls):
                setattr(cls, name, effect(vars(cls)[name]))

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], defaults: dict[str, Any]
    ) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._flat: list[list[FlatParameters]] = []
        if isinstance(params, Tensor):
            # It iterates over its rows, which are no parameters.
            raise TypeError(
                f"{type(self).__name__}: a list of parameters is wanted, got a single Tensor"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: there are no parameters to optimize")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own: ``{"params": […], "lr": 1e-4}``.

        Raises
        ------
        ValueError
            A parameter is in a group already, or a setting is unknown or out of bounds.
        TypeError
            Something is not a leaf Tensor of a floating dtype, or not a group.
        """
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(
                f"{type(self).__name__}: a group is a dict with 'params', got {group!r}"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = group.keys() - self.defaults.keys() - {"params"}
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: unknown settings {sorted(unknown)}; "
                f"there are {sorted(self.defaults)}"
            )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        alike: dict[Any, list[Tensor]] = defaultdict(list)
        for i, parameter in enumerate(params):
            if not (isinstance(parameter, Tensor) and parameter.is_leaf):
                raise TypeError(
                    f"{type(self).__name__}: a leaf Tensor is wanted, got {parameter!r}"
                )
            if parameter.dtype.kind != "f":
                raise TypeError(
                    f"{type(self).__name__}: a floating dtype is wanted, got {parameter.dtype}"
                )
            if id(parameter) in known:
                raise ValueError(f"{type(self).__name__}: parameter {i} is there twice")
            known.add(id(parameter))
            alike[parameter.dtype, parameter.device].append(parameter)
        settings = {**self.defaults, **group, "params": params}
        self._check_bounds(group)
        self.check(settings)
        self.param_groups.append(settings)
        self._flat.append([FlatParameters(part, self.state_names) for part in alike.values()])

    def _check_bounds(self, settings: Mapping[str, Any]) -> None:
        """Hold a group's own settings against the bounds in the constructor's signature."""
        named = self.defaults.keys() & settings.keys()
        hints = get_type_hints(type(self).__init__, include_extras=True) if named else {}
        for name in sorted(named & hints.keys()):
            arguments.check(name, settings[name], hints[name])

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError where settings contradict each other; what subclasses may define."""

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Change ``segment.value`` in place by one step; what subclasses define.

        In place means ``p = segment.value``, ``p -= …``: a segment's fields can't be assigned to.
        """
        raise TypeError(f"{type(self).__name__} has no update(); define its formula there")

    def derived_state(self, step: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return state that follows from the step, for those who read `state_dict`."""
        return {}

    @effect
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Outputs computed before can no longer be walked backward where they used a parameter.

        Parameters
        ----------
        closure
            Is called first, to compute loss and gradients; what it returns is returned.
        """
        loss = None if closure is None else closure()
        for settings, parts in zip(self.param_groups, self._flat, strict=True):
            for part in parts:
                for segment in part.segments():
                    if settings.get("maximize"):
                        segment = segment._replace(grad=-segment.grad)
                    self.update(segment, settings)
        return loss

    @effect
    def zero_grad(self) -> None:
        """Forget all gradients. A gradient to be kept must be cloned: its memory is used again."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.grad = None

    def _places(self) -> list[tuple[FlatParameters, int]]:
        """Where each parameter lies, in the order of the groups."""
        places: list[tuple[FlatParameters, int]] = []
        for group, parts in zip(self.param_groups, self._flat, strict=True):
            where = {id(p): (part, i) for part in parts for i, p in enumerate(part.parameters)}
            places.extend(where[id(p)] for p in group["params"])
        return places

    def state_dict(self) -> dict[str, Any]:
        """Return state by the parameters' numbers, and settings, in PyTorch's layout."""
        state = {}
        owners = [group for group in self.param_groups for _ in group["params"]]
        for number, (part, i) in enumerate(self._places()):
            if part.steps[i]:
                shape = part.parameters[i].shape
                arrays = {
                    name: Tensor(array[part.pieces[i]].reshape(shape).copy())
                    for name, array in part.state.items()
                    if owners[number].get(self.optional_state.get(name, ""), True)
                }
                more = self.derived_state(part.steps[i], owners[number])
                state[number] = {"step": part.steps[i], **arrays, **more}
        groups, number = [], 0
        for group in self.param_groups:
            count = len(group["params"])
            settings = {key: value for key, value in group.items() if key != "params"}
            groups.append({**settings, "params": list(range(number, number + count))})
            number += count
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and settings that `state_dict` returned, here or in PyTorch (as arrays).

        Raises
        ------
        ValueError
            Groups, shapes or settings do not fit this optimizer; nothing has been changed.
        """
        groups = state_dict["param_groups"]
        # JSON has no whole numbers for keys, only strings.
        state = {int(number): entry for number, entry in state_dict["state"].items()}
        own = [len(group["params"]) for group in self.param_groups]
        found = [len(group["params"]) for group in groups]
        if own != found:
            raise ValueError(
                f"{type(self).__name__}: parameters in groups: {own} here, {found} in the state"
            )
        settings = [self._settings(group) for group in groups]
        places = self._places()
        self._check_state(state, places, settings)
        for group, saved in zip(self.param_groups, settings, strict=True):
            group.update(saved)
        for number, (part, i) in enumerate(places):
            entry = state.get(number)
            # PyTorch's SGD counts no steps; where it has state there was at least one.
            part.steps[i] = int(entry.get("step", 1)) if entry else 0
            for name, array in part.state.items():
                piece = array[part.pieces[i]]
                known = entry is not None and entry.get(name) is not None
                kept = bottom(entry[name], "load_state_dict") if known else None  # type: ignore[index]
                piece[...] = 0.0 if kept is None else like(kept.reshape(-1), piece)

    def _settings(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of this optimizer in a saved group; others must be off, or as they are here."""
        for key, value in saved.items():
            foreign = key not in self.defaults and key not in _WITHOUT_EFFECT
            if foreign and bool(value) != self.fixed.get(key, False):
                raise ValueError(
                    f"{type(self).__name__}: the state was saved with {key}={value!r}, which this "
                    "optimizer does not do"
                )
        settings = {key: value for key, value in saved.items() if key in self.defaults}
        self._check_bounds(settings)
        self.check({**self.defaults, **settings})
        return settings

    def _wants(self, name: str, groups: list[dict[str, Any]]) -> bool:
        """Whether state of this name must be there, with the settings of these groups."""
        if name not in self.optional_state:
            return True
        return any(group.get(self.optional_state[name]) for group in groups)

    def _check_state(
        self,
        state: Mapping[int, Mapping[str, Any]],
        places: list[tuple[FlatParameters, int]],
        groups: list[dict[str, Any]],
    ) -> None:
        for number, entry in state.items():
            if not 0 <= number < len(places):
                raise ValueError(
                    f"{type(self).__name__}: state of parameter {number}; there are {len(places)}"
                )
            part, i = places[number]
            shape = part.parameters[i].shape
            for name in self.state_names:
                if entry.get(name) is None and not self._wants(name, groups):
                    continue
                if name not in entry or np.shape(entry[name]) != shape:
                    got = np.shape(entry[name]) if name in entry else "nothing"
                    raise ValueError(
                        f"{type(self).__name__}: state {name!r} of parameter {number}: "
                        f"wanted shape {shape}, got {got}"
                    )
