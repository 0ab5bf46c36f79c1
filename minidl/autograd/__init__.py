"""How derivatives are made.

Read `primitive` first (what an operation is and how it finds its level), then `reverse` and
`forward` (what the two modes do with it), then `transforms` (the functions users call).
"""

from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.autograd.primitive import enable_grad, no_grad
from minidl.autograd.transforms import derivative, grad, jvp, value_and_grad, vjp

__all__ = [
    "derivative",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "jvp",
    "no_grad",
    "value_and_grad",
    "vjp",
]
