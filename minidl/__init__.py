"""minidl: a small deep-learning framework on NumPy that can be read, trusted and used.

Importing it brings NumPy and the engine, no more; `minidl.train`, `minidl.cli` and the tracking
to MLflow are imported where they are used.
"""

from typing import Any

import minidl.threads  # noqa: F401 - before NumPy is imported
from minidl import autograd, fft, linalg, ops, special
from minidl.autograd import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    derivative,
    detect_anomaly,
    enable_grad,
    gradcheck,
    gradgradcheck,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    no_grad,
    value_and_grad,
    vjp,
    vmap,
)
from minidl.autograd.transforms import grad
from minidl.ops import *  # noqa: F403
from minidl.ops import __all__ as _operations
from minidl.tensor import (
    Tensor,
    arange,
    from_numpy,
    full,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from minidl.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is not always wanted when it is first asked for."""
    if name == "compile":
        from minidl.compiling import compile

        return compile
    if name in ("explain", "draw"):
        from minidl import explaining

        return getattr(explaining, name)
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


__all__ = [  # noqa: PLE0604
    "Tensor",
    "arange",
    "autograd",
    "checkpoint",
    "compile",
    "custom_jvp",
    "custom_vjp",
    "derivative",
    "detect_anomaly",
    "enable_grad",
    "fft",
    "from_numpy",
    "full",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linalg",
    "linearize",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "set_num_threads",
    "special",
    "tensor",
    "value_and_grad",
    "vjp",
    "vmap",
    "zeros",
    "zeros_like",
    *_operations,
]
