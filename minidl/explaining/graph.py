"""A drawing of a computation: nodes with lines of text, and edges; written in four languages."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class GraphNode:
    """A box with lines of text."""

    name: str
    lines: list[str]
    kind: str = "operation"


@dataclass
class Graph:
    """Nodes in an order in which every edge goes forward."""

    nodes: dict[str, GraphNode] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    def node(self, name: str, lines: list[str], kind: str = "operation") -> None:
        """Add a node."""
        self.nodes[name] = GraphNode(name, lines, kind)

    def edge(self, source: str, target: str, label: str = "") -> None:
        """Add an edge between two nodes."""
        self.edges.append((source, target, label))

    def text(self) -> str:
        """Return one line a node, with the nodes it comes from."""
        lines = []
        for node in self.nodes.values():
            before = [
                f"{source} [{label}]" if label else source
                for source, target, label in self.edges
                if target == node.name
            ]
            arrow = f"  <- {', '.join(before)}" if before else ""
            lines.append(f"{node.name}: {'; '.join(node.lines)}{arrow}")
        return "\n".join(lines)

    def dot(self) -> str:
        """Return the graph in Graphviz's language."""
        lines = ["digraph {", "  node [shape=box, fontname=monospace];"]
        for node in self.nodes.values():
            text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in node.lines)
            style = ", style=rounded" if node.kind == "input" else ""
            lines.append(f'  "{node.name}" [label="{text}"{style}];')
        for source, target, label in self.edges:
            note = f' [label="{label}"]' if label else ""
            lines.append(f'  "{source}" -> "{target}"{note};')
        return "\n".join([*lines, "}"])

    def mermaid(self) -> str:
        """Return the graph in Mermaid's language."""
        numbers = {name: f"n{i}" for i, name in enumerate(self.nodes)}
        lines = ["flowchart TB"]
        for name, node in self.nodes.items():
            text = "<br/>".join(line.replace('"', "#quot;") for line in node.lines)
            left, right = ('(["', '"])') if node.kind == "input" else ('["', '"]')
            lines.append(f"  {numbers[name]}{left}{text}{right}")
        for source, target, label in self.edges:
            arrow = f'-- "{label}" -->' if label else "-->"
            lines.append(f"  {numbers[source]} {arrow} {numbers[target]}")
        return "\n".join(lines)

    def svg(self) -> str:
        """Return a picture; it needs no other program."""
        from minidl.explaining.svg import picture

        return picture(self)
