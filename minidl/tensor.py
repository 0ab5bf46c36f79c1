"""Tensor: the box that users hold.

A Tensor has the operators and methods of a PyTorch tensor (`minidl.methods`) and takes part in
NumPy's protocols; it computes nothing itself. Three attributes are the engine's
(`minidl.autograd.primitive`): ``value`` (an ndarray, or a Tensor of a lower level), ``level`` and
``trace``.

Assigning to a part (``x[i] = v``) and augmented assignment (``x += y``) rebind the Tensor to a new
value and stay differentiable; what was computed from it before keeps the old value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minidl import numpy_protocols, ops
from minidl.autograd import arrays, backward, recording, reverse
from minidl.autograd.primitive import Array, Box, bottom, constant, place_of, plain
from minidl.autograd.primitive import ones_like as ones_like_value
from minidl.autograd.primitive import zeros_like as zeros_like_value
from minidl.autograd.reverse import EAGER, Leaf, RemovableHandle
from minidl.methods import Methods
from minidl.ops.shape import unpack

#: The key of the hook of `Tensor.retain_grad`: after all others, which have their time for key.
_RETAIN = -1


class _Retained:
    """The hook that keeps a gradient, adding up over calls of ``backward``."""

    grad: Any = None

    def __call__(self, gradient: Any) -> None:
        self.grad = gradient if self.grad is None else self.grad + gradient


def _as_value(data: Any, dtype: DTypeLike | None) -> Array:
    """Make an array of what a user gave; floats from Python have single precision."""
    if isinstance(data, Box) and data.level.serial < 0:  # a recording's stand-in for an array
        return data if dtype is None else data.astype(dtype)  # type: ignore[attr-defined, return-value]
    if isinstance(data, Box):
        if data.trace is not None:
            raise TypeError(
                "Tensor: the data would lose their derivative; use clone() to keep it, or "
                "detach() if a constant is meant"
            )
        data = bottom(data, "Tensor()")
    if isinstance(data, (np.ndarray, np.generic)) or type(data) in arrays.others:
        array = arrays.asarray(data, dtype)
    else:
        if isinstance(data, (list, tuple)) and any(isinstance(part, Box) for part in data):
            if any(isinstance(part, Box) and part.trace is not None for part in data):
                raise TypeError(
                    "Tensor: a list of Tensors that are differentiated would lose their "
                    "derivatives; use minidl.stack"
                )
            data = [_as_value(part, None) for part in data]
        array = np.asarray(data)
        if dtype is None:
            dtype = {"d": np.float32, "D": np.complex64}.get(array.dtype.char)
        array = array.astype(dtype, copy=False) if dtype is not None else array
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"Tensor: numbers are wanted, got dtype {array.dtype} from {data!r}")
    return array


class Tensor(Methods):
    """An array that can be differentiated.

    Parameters
    ----------
    data
        An ndarray (its memory is shared), a Tensor, or nested lists of numbers (floats become
        float32).
    requires_grad
        Accumulate gradients in ``.grad`` when ``backward()`` reaches this Tensor.
    dtype
        Convert to this dtype.

    Raises
    ------
    TypeError
        ``data`` holds something else than numbers, or ``requires_grad`` is asked of integers.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: DTypeLike | None = None
    ) -> None:
        self.value = _as_value(data, dtype)
        self.level = EAGER
        self.trace = None
        if requires_grad:
            self.requires_grad_()

    # ---- what it is ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.level.shape_of(self.value)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        dtype: np.dtype[Any] = self.value.dtype
        return dtype

    @property
    def device(self) -> str:
        """Where the elements lie: ``"cpu"``, or ``"cuda:0"``."""
        return arrays.device_of(place_of(self))

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the length of axis ``dim``."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Return the number of elements."""
        return int(np.prod(self.shape, dtype=np.intp))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d Tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d Tensor")
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # by identity, as == is elementwise

    def __repr__(self) -> str:
        if recording.open_recordings:
            recording.refuse("its repr")
        array = arrays.host(_bottom(self))
        text = np.array2string(array, separator=", ", prefix="tensor(")
        notes = "" if array.dtype in (np.float32, np.int64, np.bool_) else f", dtype={array.dtype}"
        if self.level is not EAGER:
            notes += ", traced"
        elif isinstance(self.trace, Leaf):
            notes += ", requires_grad=True"
        elif self.trace is not None:
            notes += f", grad_fn={self.trace.primitive.name}"
        return f"tensor({text}{notes})"

    # ---- derivatives -----------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives with respect to this Tensor, or through it, are recorded."""
        return self.trace is not None

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user and not by a recorded operation."""
        return not isinstance(self.trace, reverse.Node)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Turn the accumulation of gradients on or off for this leaf, and return it.

        Raises
        ------
        TypeError
            The dtype is not floating.
        RuntimeError
            The Tensor is the result of a recorded operation.
        """
        if not self.is_leaf or self.level is not EAGER:
            raise RuntimeError("requires_grad_: only a leaf can change this; detach() it first")
        if not requires_grad:
            self.trace = None
        elif self.dtype.kind not in "fc":
            raise TypeError(f"requires_grad wants a floating dtype, got {self.dtype}")
        elif self.trace is None:
            self.trace = Leaf(self.shape, self.dtype)
        return self

    @property
    def grad(self) -> Any:
        """Gradient that `backward` has accumulated here: a Tensor of this shape, or None.

        Kept for leaves, and after `retain_grad` for others.
        """
        if isinstance(self.trace, reverse.Node) and self.trace.hooks:
            retained = self.trace.hooks.get(_RETAIN)
            return retained.grad if isinstance(retained, _Retained) else None
        return self.trace.grad if isinstance(self.trace, Leaf) else None

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if not isinstance(self.trace, Leaf):
            raise RuntimeError("grad: this Tensor is not a leaf that requires a gradient")
        if gradient is not None:
            gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
            if gradient.shape != self.shape or gradient.dtype != self.dtype:
                raise ValueError(
                    f"grad: wanted {self.dtype}{list(self.shape)}, "
                    f"got {gradient.dtype}{list(gradient.shape)}"
                )
        self.trace.assign(gradient)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the derivative of this Tensor to the ``grad`` of every leaf it depends on.

        Parameters
        ----------
        gradient
            Cotangent of this Tensor's shape; 1.0 by default, for a single number.
        retain_graph
            Keep the graph, to walk it again; by default what ``create_graph`` is.
        create_graph
            Record the walk, so that the gradients can be differentiated in turn.

        Raises
        ------
        RuntimeError
            Nothing here requires a gradient; a gradient is needed or has the wrong shape; the
            graph was freed by an earlier call; a parameter was overwritten in between.
        """
        backward.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call ``hook(gradient)`` whenever a gradient of this Tensor has been computed.

        A Tensor that the hook returns takes the gradient's place, here and further down. For a
        leaf it is called once, with the whole gradient, before that is added to ``grad``.

        Raises
        ------
        RuntimeError
            The Tensor does not require a gradient.
        """
        if not isinstance(self.trace, (reverse.Node, Leaf)):
            raise RuntimeError("register_hook: this Tensor does not require a gradient")
        if self.trace.hooks is None:
            self.trace.hooks = {}
        return RemovableHandle.register(self.trace.hooks, hook)

    def retain_grad(self) -> None:
        """Keep in ``grad`` the gradient that reaches this result of an operation.

        Raises
        ------
        RuntimeError
            The Tensor does not require a gradient.
        """
        if not self.is_leaf and _RETAIN not in (self.trace.hooks or {}):
            self.register_hook(lambda _: None).remove()
            self.trace.hooks[_RETAIN] = _Retained()
        elif self.trace is None:
            raise RuntimeError("retain_grad: this Tensor does not require a gradient")

    def detach(self) -> Tensor:
        """Return the same values (and memory) as a constant to every transform."""
        if self.level is EAGER:
            return Tensor(self.value)
        self.level.left = "detach()"
        constant = ops.stop_gradient(self)
        return constant if isinstance(constant, Tensor) else Tensor(constant)

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the elements of a leaf in place, unrecorded, and return it.

        Raises
        ------
        RuntimeError
            The Tensor is the result of a recorded operation.
        ValueError
            ``source`` does not broadcast to this shape.
        """
        if not self.is_leaf or self.level is not EAGER:
            raise RuntimeError("copy_: only a leaf can be overwritten; detach() it first")
        recording.run(_overwrite, self, source)
        return self

    # ---- out of the graph ------------------------------------------------------------------

    def numpy(self) -> Array:
        """Return the ndarray, sharing memory; of a Tensor on a device a copy on the host.

        Raises
        ------
        TypeError
            The Tensor requires a gradient: what is computed in NumPy would be lost to it.
        """
        if self.trace is not None:
            raise TypeError(
                "a Tensor that requires a gradient was converted to an ndarray, which would lose "
                "the graph; call .detach().numpy(), or use minidl's functions (NumPy's accept "
                "Tensors where minidl has their derivative)"
            )
        if recording.open_recordings:
            recording.refuse("numpy()")
        value = self.level.one_value(self.value, "numpy()")
        return value.numpy() if isinstance(value, Tensor) else arrays.host(value)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> Any:
        """Return a single element as a Python number, without derivative.

        Raises
        ------
        ValueError
            There is not exactly one element.
        """
        if self.numel() != 1:
            raise ValueError(f"item(): exactly one element is wanted, got shape {self.shape}")
        return plain(self, "item()").item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers, without derivative."""
        return plain(self, "tolist()").tolist()

    def __bool__(self) -> bool:
        if recording.open_recordings and self.level is EAGER and self.numel() == 1:
            return bool(constant(self))  # a condition of what is recorded
        return bool(self.item())

    def __float__(self) -> float:
        # math.sin(x) would call this and silently give a constant.
        if self.level is not EAGER and self.trace is not None:
            raise TypeError(
                "float() inside a transform loses the derivative; use minidl's or NumPy's "
                "functions instead of math's, or .item() if a constant is meant"
            )
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"a Tensor of {self.dtype} cannot be an index")
        return int(self.item())

    def __reduce__(self) -> Any:
        if not self.is_leaf or self.level is not EAGER:
            raise RuntimeError("only leaves can be copied deeply or pickled; detach() it first")
        return type(self), (self.value, self.requires_grad)

    # ---- NumPy's protocols -----------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_protocols.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        return numpy_protocols.call_function(function, args, kwargs)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(self.trace, Leaf) and self.level is EAGER:
            raise RuntimeError(
                "x[i] = v on a leaf that requires a gradient would cut it off from its .grad; "
                "assign to x.clone(), or overwrite the parameter with copy_()"
            )
        written = ops.setitem(self, index, value)
        if isinstance(written, Tensor):
            self.value, self.level, self.trace = written.value, written.level, written.trace
        else:
            self.value, self.level, self.trace = written, EAGER, None


Box.kind = Tensor


def _bottom(value: Any) -> Any:
    while isinstance(value, Box):
        value = value.value
    return value


def _overwrite(tensor: Tensor, source: Any) -> None:
    tensor.value[...] = arrays.like(bottom(source, "copy_()"), tensor.value)
    if tensor.trace is not None:
        tensor.trace.touch()


def tensor(data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor with a copy of ``data``; parameters and errors are those of `Tensor`.

    Examples
    --------
    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).sum(0)
    tensor([4, 6])
    """
    return Tensor(arrays.copied(_as_value(data, dtype)), requires_grad)


def from_numpy(array: Array) -> Tensor:
    """Return a Tensor that shares the memory of ``array``."""
    return Tensor(np.asarray(array))


def zeros(
    *shape: int | Sequence[int], dtype: DTypeLike = np.float32, requires_grad: bool = False
) -> Tensor:
    """Return a Tensor of zeros."""
    return Tensor(np.zeros(unpack(shape), dtype), requires_grad)


def ones(
    *shape: int | Sequence[int], dtype: DTypeLike = np.float32, requires_grad: bool = False
) -> Tensor:
    """Return a Tensor of ones."""
    return Tensor(np.ones(unpack(shape), dtype), requires_grad)


def full(
    shape: Sequence[int],
    fill_value: Any,
    *,
    dtype: DTypeLike = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor with ``fill_value`` everywhere."""
    return Tensor(np.full(tuple(shape), fill_value, dtype), requires_grad)


def arange(*bounds: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Return ``start, start + step, …`` below ``end``; arguments as Python's ``range``."""
    array = np.arange(*bounds, dtype=dtype)
    return Tensor(array if dtype is not None or array.dtype.kind != "f" else array.astype("f4"))


def zeros_like(x: Any) -> Tensor:
    """Return zeros of the shape and dtype of ``x``."""
    return Tensor(zeros_like_value(x))


def ones_like(x: Any) -> Tensor:
    """Return ones of the shape and dtype of ``x``."""
    return Tensor(ones_like_value(x))
