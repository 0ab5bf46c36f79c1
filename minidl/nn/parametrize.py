"""Parameters that are computed from others: weight and spectral normalization, and one's own.

A parametrized module's parameter becomes a property: each look at it computes it anew from the
parameters behind it, which stand in ``module.parametrizations`` under PyTorch's names.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from minidl.arguments import Positive, Size, checked
from minidl.autograd import no_grad, recording
from minidl.autograd.primitive import beside, bottom, constant, plain
from minidl.nn.containers import ModuleDict
from minidl.nn.module import Buffer, Module, Parameter
from minidl.ops.elementwise import sqrt as square_root
from minidl.ops.elementwise import square
from minidl.ops.products import matmul
from minidl.ops.reduce import sum
from minidl.ops.shape import moveaxis, reshape, shape_of

M = TypeVar("M", bound=Module)


class ParametrizationList(Module):
    """The parametrizations of one tensor, applied one after the other, and what stands behind."""

    def __init__(self, parametrization: Module, original: Any) -> None:
        parts = None
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                parts = parametrization.right_inverse(original)
        if isinstance(parts, tuple):
            for i, part in enumerate(parts):
                setattr(self, f"original{i}", Parameter(bottom(part, "parametrize").copy()))
        elif parts is not None:
            self.original = Parameter(bottom(parts, "parametrize").copy())
        else:
            self.original = original
        setattr(self, "0", parametrization)

    def append(self, parametrization: Module) -> None:
        """Apply one more to the result."""
        count = len(list(self.children()))
        setattr(self, str(count), parametrization)

    def forward(self) -> Any:
        """Compute the tensor."""
        own = vars(self)
        if "original" in own:
            value: Any = own["original"]
            first, *others = self.children()
            value = first(value)
        else:
            first, *others = self.children()
            value = first(*(own[f"original{i}"] for i in range(len(own)) if f"original{i}" in own))
        for module in others:
            value = module(value)
        return value


def register_parametrization(module: M, tensor_name: str, parametrization: Module) -> M:
    """Let ``module.tensor_name`` be what ``parametrization`` makes of it, from now on.

    Parameters
    ----------
    parametrization
        Its ``forward`` takes the original tensor(s). A method ``right_inverse``, if there is one,
        makes of the present value what stands behind it (a tuple for several tensors).

    Raises
    ------
    ValueError
        The module has no such parameter, or the shape would change.
    """
    own = vars(module)
    already = own.get("parametrizations")
    if already is not None and tensor_name in already:
        stack = already[tensor_name]
        assert isinstance(stack, ParametrizationList)
        stack.append(parametrization)
        return module
    original = own.get(tensor_name)
    if not isinstance(original, Parameter):
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter {tensor_name!r}"
        )
    entry = ParametrizationList(parametrization, original)
    with no_grad():
        shape = shape_of(entry())
    if shape != original.shape:
        raise ValueError(
            f"register_parametrization: {tensor_name} would change its shape from "
            f"{original.shape} to {shape}"
        )
    del own[tensor_name]
    if already is None:
        module.parametrizations = ModuleDict()  # type: ignore[attr-defined]
    module.parametrizations[tensor_name] = entry  # type: ignore[attr-defined]
    module.__class__ = _parametrized(type(module), frozenset(module.parametrizations))  # type: ignore[attr-defined]
    return module


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Make ``tensor_name`` a parameter of its own again, with the value it has now.

    ``leave_parametrized=False`` gives it the original value, where there is only one original.

    Raises
    ------
    ValueError
        It is not parametrized, or there is no single original.
    """
    entries = vars(module).get("parametrizations")
    if entries is None or tensor_name not in entries:
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} has none"
        )
    entry = entries[tensor_name]
    if leave_parametrized:
        with no_grad():
            value = Parameter(bottom(entry(), "remove_parametrizations").copy())
    elif "original" in vars(entry):
        value = entry.original
    else:
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} is made of several tensors; "
            "leave_parametrized must be True"
        )
    del entries[tensor_name]
    left = frozenset(entries)
    plain_class = type(module).__mro__[1]
    module.__class__ = _parametrized(plain_class, left) if left else plain_class
    if not left:
        del module.parametrizations  # type: ignore[attr-defined]
    setattr(module, tensor_name, value)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module (or one tensor of it) is parametrized."""
    entries = vars(module).get("parametrizations")
    return entries is not None and (tensor_name is None or tensor_name in entries)


_classes: dict[tuple[type, frozenset[str]], type] = {}


def _parametrized(cls: type, names: frozenset[str]) -> type:
    """Return the class of modules like ``cls`` whose ``names`` are computed."""
    base = cls.__mro__[1] if getattr(cls, "computed", None) else cls
    key = base, names
    if key not in _classes:

        def computed(name: str) -> property:
            def get(self: Any) -> Any:
                return self.parametrizations[name]()

            return property(get)

        def reduce(self: Any) -> Any:
            return _restore, (base, names), vars(self)

        space: dict[str, Any] = {name: computed(name) for name in names}
        space |= {"computed": names, "__reduce__": reduce, "__module__": base.__module__}
        _classes[key] = type(base.__name__, (base,), space)
    return _classes[key]


def _restore(base: type, names: frozenset[str]) -> Any:
    """Make an empty module of a parametrized class; for copies and pickles."""
    return object.__new__(_parametrized(base, names))


class _WeightNorm(Module):
    """``w = g · v / ‖v‖``, norms over all axes but ``dim``."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def _norm(self, v: Any) -> Any:
        over = tuple(i for i in range(len(shape_of(v))) if i != self.dim % len(shape_of(v)))
        return square_root(sum(square(v), over, keepdim=True))

    def forward(self, g: Any, v: Any) -> Any:
        """Return the weight."""
        return v * (g / self._norm(v))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        """Return length and direction."""
        return self._norm(weight), weight


class _SpectralNorm(Module):
    """The weight over its largest singular value, which power iteration follows."""

    def __init__(self, weight: Any, steps: int, dim: int, eps: float, rng: Any) -> None:
        self.steps, self.dim, self.eps = steps, dim, eps
        matrix = plain(self._matrix(weight), "spectral_norm")
        rng = np.random.default_rng() if rng is None else rng
        u, v = (rng.normal(size=n).astype(matrix.dtype) for n in matrix.shape)
        self._u, self._v = Buffer(u / max(np.linalg.norm(u), eps)), Buffer(v)
        self._v.value = self._unit(v)
        self._iterate(matrix, 15)
        for buffer in (self._u, self._v):
            buffer.value = beside(buffer.value, weight)

    def _matrix(self, weight: Any) -> Any:
        first = moveaxis(weight, self.dim, 0)
        return reshape(first, (shape_of(first)[0], -1))

    def _unit(self, x: Any) -> Any:
        return (x / max(float(np.linalg.norm(x)), self.eps)).astype(x.dtype)

    def _iterate(self, matrix: Any, steps: int) -> None:
        for _ in range(steps):
            self._u.value = self._unit(matrix @ self._v.value)
            self._v.value = self._unit(matrix.T @ self._u.value)

    def forward(self, weight: Any) -> Any:
        """Return the weight with largest singular value (about) 1."""
        matrix = self._matrix(weight)
        if self.training and recording.open_recordings:
            recording.run(self._iterate, constant(matrix), self.steps)
        elif self.training:
            self._iterate(bottom(matrix, "spectral_norm"), self.steps)
        u, v = (recording.run(_copied, buffer) for buffer in (self._u, self._v))
        return weight / matmul(u, matmul(matrix, v))


def _copied(buffer: Buffer) -> Any:
    return buffer.value.copy()


def weight_norm(module: M, name: str = "weight", dim: int = 0) -> M:
    """Reparametrize a weight as length times direction, a length an output.

    References
    ----------
    T. Salimans, D. Kingma, "Weight Normalization", NIPS 2016.
    """
    return register_parametrization(module, name, _WeightNorm(dim))


@checked
def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: Size = 1,
    eps: Positive = 1e-12,
    dim: int | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> Any:
    """Divide a weight by its largest singular value, estimated by power iteration.

    References
    ----------
    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
    """
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter):
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter {name!r}")
    transposed = type(module).__name__.startswith("ConvTranspose")
    axis = (1 if transposed else 0) if dim is None else dim
    made = _SpectralNorm(weight.detach(), n_power_iterations, axis, eps, rng)
    return register_parametrization(module, name, made)
