"""Optimizers, learning-rate schedules, limits on gradients, averages of weights."""

from minidl.optim import schedules as lr_scheduler
from minidl.optim.adam import AdaBelief, Adam, Adamax, AdamW, AMSGrad, NAdam, OAdam, RAdam
from minidl.optim.adaptive import Adadelta, Adagrad, RMSprop
from minidl.optim.averaging import AveragedModel, update_bn
from minidl.optim.clipping import (
    clip_each_grad_norm_,
    clip_grad_adaptive_,
    clip_grad_norm_,
    clip_grad_value_,
)
from minidl.optim.lbfgs import LBFGS
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import *  # noqa: F403
from minidl.optim.schedules import __all__ as _schedules
from minidl.optim.sgd import SGD, Lion, Rprop
from minidl.optim.tensorwise import LAMB, LARS, Muon
from minidl.optim.transforms import (
    Accumulate,
    Lookahead,
    add_grad_noise_,
    centralize_grad_,
    scale_grad_,
)

__all__ = [  # noqa: PLE0604
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "AMSGrad",
    "Accumulate",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AveragedModel",
    "Lion",
    "Lookahead",
    "Muon",
    "NAdam",
    "OAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "add_grad_noise_",
    "centralize_grad_",
    "scale_grad_",
    "clip_each_grad_norm_",
    "clip_grad_adaptive_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
    "update_bn",
    *_schedules,
]
