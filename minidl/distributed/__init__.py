"""Data-parallel training: several processes, *ranks*, that take each step together over MPI.

``mpiexec -n 4 python step.py`` starts four. Each has the whole model and a share of the batch; what
they exchange is gradients. Read `world` first (what ranks say to each other), then `launcher` (how
a process knows that it is one of several) and `mpi` (how it is said); then `gradients`.
"""

from minidl.distributed.gradients import BUCKET_BYTES, GradientSum, Traffic
from minidl.distributed.launcher import Launch, LaunchError, launched
from minidl.distributed.world import GRACE, World, current, join

__all__ = [
    "BUCKET_BYTES",
    "GradientSum",
    "Traffic",
    "GRACE",
    "Launch",
    "LaunchError",
    "World",
    "current",
    "join",
    "launched",
]
