"""Formulas: arithmetic, named functions and variables, and nothing else.

A formula is split into tokens and parsed by precedence (V. Pratt, "Top Down Operator Precedence",
POPL 1973) into a tree of tuples; no part of it is ever run as Python.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from typing import Any

from minidl import ops

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(ops, name)
    for name in [
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "rsqrt",
        "square",
        "abs",
        "sign",
        "sigmoid",
        "relu",
        "erf",
        "erfc",
        "lgamma",
        "digamma",
        "atan2",
        "hypot",
        "logaddexp",
        "maximum",
        "minimum",
        "pow",
    ]
} | {"ln": ops.log, "max": ops.maximum, "min": ops.minimum}
_TWO = {"atan2", "hypot", "logaddexp", "maximum", "minimum", "pow", "max", "min"}
CONSTANTS = {"pi": math.pi, "e": math.e}
MAX_LENGTH, MAX_DEPTH = 2_000, 60
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/^(),]))"
)
_BINARY = {"+": (10, "add"), "-": (10, "sub"), "*": (20, "mul"), "/": (20, "div")}
OPERATIONS: dict[str, Callable[..., Any]] = FUNCTIONS | {
    name: getattr(ops, name) for name in ("add", "sub", "mul", "div", "neg")
}


class ExpressionError(ValueError):
    """A formula that cannot be read; the message shows where."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"the formula has {len(text)} characters, at most {MAX_LENGTH}")
        self.tokens: list[tuple[str, str, int]] = []
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None:
                start = place + len(text[place:]) - len(text[place:].lstrip())
                raise self.error(f"{text[start]!r} has no meaning here", start)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind], match.start(kind)))
            place = match.end()
        self.tokens.append(("end", "", len(text)))
        self.next = 0
        self.names: list[str] = []

    def error(self, message: str, place: int) -> ExpressionError:
        return ExpressionError(f"{message}\n    {self.text}\n    {' ' * place}^")

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.next]

    def take(self) -> tuple[str, str, int]:
        self.next += 1
        return self.tokens[self.next - 1]

    def expect(self, sign: str) -> None:
        _, text, place = self.take()
        if text != sign:
            found = f"{text!r}" if text else "the end"
            raise self.error(f"{sign!r} is wanted, found {found}", place)

    def expression(self, power: int = 0, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep", self.peek()[2])
        left = self.operand(depth)
        while True:
            _, sign, _ = self.peek()
            if sign in ("**", "^") and power <= 30:
                self.take()
                left = ("call", "pow", left, self.expression(30, depth + 1))  # to the right
            elif sign in _BINARY and _BINARY[sign][0] > power:
                self.take()
                strength, operation = _BINARY[sign]
                left = ("call", operation, left, self.expression(strength, depth + 1))
            else:
                return left

    def operand(self, depth: int) -> Any:
        kind, text, place = self.take()
        if kind == "number":
            return ("number", float(text))
        if text in ("-", "+"):
            inner = self.expression(25, depth + 1)
            return ("call", "neg", inner) if text == "-" else inner
        if text == "(":
            inner = self.expression(0, depth + 1)
            self.expect(")")
            return inner
        if kind != "name":
            found = f"{text!r}" if text else "the end"
            raise self.error(f"a number, a name or '(' is wanted, found {found}", place)
        if self.peek()[1] == "(":
            return self.call(text, place, depth)
        if text in FUNCTIONS:
            raise self.error(f"{text} is a function; it wants an argument: {text}(…)", place)
        if text in CONSTANTS:
            return ("number", CONSTANTS[text])
        if text not in self.names:
            self.names.append(text)
        return ("name", text)

    def call(self, name: str, place: int, depth: int) -> Any:
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name, FUNCTIONS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise self.error(f"{name} is no known function{hint}", place)
        self.expect("(")
        args = [self.expression(0, depth + 1)]
        while self.peek()[1] == ",":
            self.take()
            args.append(self.expression(0, depth + 1))
        self.expect(")")
        wanted = 2 if name in _TWO else 1
        if len(args) != wanted:
            raise self.error(f"{name} takes {wanted} arguments, got {len(args)}", place)
        return ("call", name, *args)


def read(text: str) -> tuple[Any, list[str]]:
    """Turn a formula into a tree of tuples, and the names in it in order of appearance.

    Raises
    ------
    ExpressionError
        The formula cannot be read.
    """
    parser = _Parser(text)
    tree = parser.expression()
    kind, rest, place = parser.peek()
    if kind != "end":
        raise parser.error(f"{rest!r} does not belong here", place)
    return tree, parser.names


def parse(text: str) -> tuple[Callable[..., Any], list[str]]:
    """Turn a formula into a function, and the names of its arguments in order of appearance.

    Raises
    ------
    ExpressionError
        The formula cannot be read.

    Examples
    --------
    >>> from minidl.explaining import parse
    >>> f, names = parse("x**3 + 2*x")
    >>> names, float(f(3.0))
    (['x'], 33.0)
    """
    tree, names = read(text)

    def function(*values: Any) -> Any:
        return evaluate(tree, dict(zip(names, values, strict=True)), OPERATIONS)

    return function, names


def evaluate(tree: Any, values: Any, operations: Any) -> Any:
    """Compute a tree, with functions looked up in a table."""
    if tree[0] == "number":
        return tree[1]
    if tree[0] == "name":
        return values[tree[1]]
    return operations[tree[1]](*(evaluate(part, values, operations) for part in tree[2:]))
