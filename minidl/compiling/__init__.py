"""Record a step once and replay it: `compile`.

Read `recording` first (a step taken down as it runs), with `traced` (what stands for an array in
it), then `program` (the recording written out as straight-line Python), and `compiled` (when a
program is used, and what happens where there is none). docs/compile.md tells the same as a guide.
"""

from minidl.compiling.compiled import Compiled, CompileError, CompileWarning, compile
from minidl.compiling.program import Program

__all__ = ["CompileError", "CompileWarning", "Compiled", "Program", "compile"]
