"""How derivatives are made.

Read `primitive` first (what an operation is and how it finds its level), then `reverse` and
`forward` (what the two modes do with it), then `transforms` (the functions users call). `batch` is
vmap, and `jacobians` is made of all of them.
"""

from minidl.autograd.batch import vmap
from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.autograd.jacobians import hessian, hvp, jacfwd, jacobian, jacrev, linearize
from minidl.autograd.primitive import enable_grad, no_grad
from minidl.autograd.transforms import derivative, grad, jvp, value_and_grad, vjp

__all__ = [
    "derivative",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "no_grad",
    "value_and_grad",
    "vjp",
    "vmap",
]
