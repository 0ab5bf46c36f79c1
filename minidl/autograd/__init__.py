"""How derivatives are made.

Read `primitive` first (what an operation is and how it finds its level), then `reverse` with
`backward` and `forward` (what the two modes do with it), then `transforms` (the functions users
call). `batch` is vmap, and `jacobians` is made of all of them. `custom` and `checkpoint` put what a
user says in place of what was recorded; `check` and `anomaly` find mistakes.

``minidl.autograd.grad`` is the counterpart of ``torch.autograd.grad``: it takes Tensors that have
been computed. The transform of functions is `minidl.grad`.
"""

from minidl.autograd.anomaly import detect_anomaly
from minidl.autograd.backward import gradients as grad
from minidl.autograd.batch import vmap
from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.autograd.checkpoint import checkpoint
from minidl.autograd.custom import custom_jvp, custom_vjp
from minidl.autograd.jacobians import hessian, hvp, jacfwd, jacobian, jacrev, linearize
from minidl.autograd.primitive import enable_grad, no_grad
from minidl.autograd.transforms import derivative, jvp, value_and_grad, vjp

__all__ = [
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "derivative",
    "detect_anomaly",
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
