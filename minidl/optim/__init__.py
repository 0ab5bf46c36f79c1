"""Optimizers, learning-rate schedules, clipping."""

from minidl.optim.algorithms import SGD, Adam, AdamW
from minidl.optim.clipping import clip_grad_norm_
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import CosineAnnealingLR, Schedule

__all__ = ["SGD", "Adam", "AdamW", "CosineAnnealingLR", "Optimizer", "Schedule", "clip_grad_norm_"]
