"""A layered drawing of a graph as SVG.

Each node stands one row below the lowest of those it comes from (longest path). Within a row nodes
are ordered by the mean place of their neighbours, a few sweeps down and up (K. Sugiyama et al.,
"Methods for Visual Understanding of Hierarchical System Structures", IEEE SMC 11, 1981).
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minidl.explaining.graph import Graph

LETTER, LINE, PADDING, GAP, ROW = 7.3, 17.0, 10.0, 28.0, 46.0
COLORS = {"input": "#e8f1fb", "operation": "#ffffff", "layer": "#f3efe2"}


def ranks(graph: Graph) -> dict[str, int]:
    """The row of each node: one below the lowest of those it comes from."""
    rank: dict[str, int] = {}
    for name in graph.nodes:
        before = [rank[source] for source, target, _ in graph.edges if target == name]
        rank[name] = max(before, default=-1) + 1
    return rank


def routes(graph: Graph) -> list[list[str]]:
    """Each edge as the places it goes through: a bend in every row between its ends."""
    rank = ranks(graph)
    return [
        [source, *(f"bend {i} {row}" for row in range(rank[source] + 1, rank[target])), target]
        for i, (source, target, _) in enumerate(graph.edges)
    ]


def layers(graph: Graph) -> list[list[str]]:
    """Rows of nodes and bends, in an order in which few edges cross."""
    rank = ranks(graph)
    rows: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name, number in rank.items():
        rows[number].append(name)
    near: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in rank}
    for route in routes(graph):
        for offset, name in enumerate(route[1:-1], 1):
            rows[rank[route[0]] + offset].append(name)
            near[name] = ([], [])
        for above, below in pairwise(route):
            near[below][0].append(above)
            near[above][1].append(below)
    for sweep in range(6):
        place = {name: i for row in rows for i, name in enumerate(row)}
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            key = {}
            for name in row:
                others = [place[other] for other in near[name][0 if down else 1]]
                key[name] = sum(others) / len(others) if others else place[name]
            row.sort(key=key.__getitem__)
            place |= {name: i for i, name in enumerate(row)}
    return rows


def layout(graph: Graph) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, width and height of each node and bend; no two overlap."""
    rows = layers(graph)
    sizes = {name: (8.0, 0.0) for row in rows for name in row}
    for name, node in graph.nodes.items():
        width = max(len(line) for line in node.lines) * LETTER + 2 * PADDING
        sizes[name] = width, len(node.lines) * LINE + PADDING
    widths = [sum(sizes[n][0] for n in row) + GAP * (len(row) - 1) for row in rows]
    whole = max(widths, default=0.0)
    found, top = {}, GAP
    for row, width in zip(rows, widths, strict=True):
        left, height = GAP + (whole - width) / 2, max(sizes[name][1] for name in row)
        for name in row:
            found[name] = (left, top, sizes[name][0], sizes[name][1] or height)
            left += sizes[name][0] + GAP
        top += height + ROW
    return found


def boxes(graph: Graph) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, width and height of each node."""
    places = layout(graph)
    return {name: places[name] for name in graph.nodes}


def _curve(places: dict[str, tuple[float, float, float, float]], route: list[str]) -> str:
    """A path from the foot of the first to the head of the last, straight through the bends."""
    x, y = places[route[0]][0] + places[route[0]][2] / 2, places[route[0]][1] + places[route[0]][3]
    path = f"M{x:.1f},{y:.1f}"
    for name in route[1:]:
        left, top, width, height = places[name]
        to = left + width / 2
        half = (top - y) / 2
        path += f" C{x:.1f},{y + half:.1f} {to:.1f},{top - half:.1f} {to:.1f},{top:.1f}"
        x, y = to, top + height
        if name != route[-1]:
            path += f" L{x:.1f},{y:.1f}"
    return path


def picture(graph: Graph) -> str:
    """Return the graph as an SVG document."""
    every = layout(graph)
    places = {name: every[name] for name in graph.nodes}
    labels = max((len(label) for _, _, label in graph.edges), default=0) * LETTER
    width = max((x + w / 2 + max(w / 2, labels) for x, _, w, _ in every.values()), default=0) + GAP
    height = max((y + h for _, y, _, h in every.values()), default=0.0) + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for route, (source, _, label) in zip(routes(graph), graph.edges, strict=True):
        out.append(
            f'<path d="{_curve(every, route)}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'
        )
        if label:
            x, y, w, h = every[source]
            to = every[route[1]]
            middle = (x + w / 2 + to[0] + to[2] / 2) / 2
            out.append(
                f'<text x="{middle + 6:.1f}" y="{(y + h + to[1]) / 2 + 4:.1f}" fill="#555" '
                f'font-size="11">{escape(label)}</text>'
            )
    for name, (x, y, w, h) in places.items():
        node = graph.nodes[name]
        corner = 12 if node.kind == "input" else 3
        out.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{corner}" '
            f'fill="{COLORS[node.kind]}" stroke="#333"/>'
        )
        for i, line in enumerate(node.lines):
            weight = ' font-weight="bold"' if i == 0 else ""
            out.append(
                f'<text x="{x + w / 2:.1f}" y="{y + PADDING / 2 + (i + 0.75) * LINE:.1f}" '
                f'text-anchor="middle"{weight}>{escape(line)}</text>'
            )
    return "\n".join([*out, "</svg>"])
