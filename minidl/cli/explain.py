"""``minidl explain FORMULA NAME=VALUE …``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail


class Drawing(StrEnum):
    """How the graph is written."""

    text = "text"
    dot = "dot"
    mermaid = "mermaid"
    svg = "svg"


def explain(
    formula: Annotated[str, typer.Argument(help='A formula, as "x**3 + 2*x".')],
    values: Annotated[list[str], typer.Argument(help="Where, as x=3.")],
    wrt: Annotated[str | None, typer.Option(help="The variable of tangents (the first).")] = None,
    graph: Annotated[Drawing | None, typer.Option(help="Show the graph instead.")] = None,
    compare: Annotated[bool, typer.Option(help="Show the derivative four ways.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Show how a derivative is made: every value, its tangent, its adjoint."""
    from minidl import explaining

    try:
        function, names = explaining.parse(formula)
        known = dict(_assignment(text) for text in values)
        if set(known) != set(names) or not names:
            raise explaining.ExpressionError(
                f"the formula has {', '.join(names) or 'no variable'}; "
                f"given: {', '.join(known) or 'nothing'}"
            )
        if wrt is not None and wrt not in names:
            raise explaining.ExpressionError(f"--wrt {wrt}: the formula has {', '.join(names)}")
        place = 0 if wrt is None else names.index(wrt)
        point = [known[name] for name in names]
        if compare:
            text = str(explaining.compare(function, point, wrt=place, symbolic=formula))
        else:
            found = explaining.explain(function, *point, names=names, seed=place)
            text = str(found) if graph is None else getattr(found.graph, graph.value)()
        if output is None:
            print(text)
        else:
            output.write_text(text + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        fail(str(error), 2)


def _assignment(text: str) -> tuple[str, float]:
    from minidl.explaining import ExpressionError

    name, equals, number = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return name.strip(), float(number)
    except ValueError:
        raise ExpressionError(f"{text!r}: NAME=NUMBER is wanted, as x=3") from None
