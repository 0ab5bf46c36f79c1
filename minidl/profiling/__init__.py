"""Where the time of a computation goes: by layer, by operation, by phase, and as a trace.

``with profile() as p:`` records what runs inside it, in this thread: each operation forward and
each node backward, the calls of modules around them, and phases such as the optimizer's step.
Outside such a block nothing looks on, and operations cost what they always cost.
"""

from minidl.profiling.instruments import phase
from minidl.profiling.profile import Profile, profile

__all__ = ["Profile", "phase", "profile"]
