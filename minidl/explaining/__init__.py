"""Seeing derivatives being made: traces, graphs, and the same derivative four ways.

`trace` runs a function and notes what the engine does with it, `graph` draws that (as text, DOT,
Mermaid or SVG, laid out in `svg`), `compare` sets forward mode, reverse mode, central differences
and symbols side by side, `expression` reads formulas, and `network` draws a model by its layers.
"""

from minidl.explaining.compare import compare
from minidl.explaining.expression import ExpressionError, parse
from minidl.explaining.graph import Graph
from minidl.explaining.network import draw
from minidl.explaining.trace import Explanation, explain

__all__ = ["Explanation", "ExpressionError", "Graph", "compare", "draw", "explain", "parse"]
