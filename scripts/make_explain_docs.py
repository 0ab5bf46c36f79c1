"""Draw the figures of docs/from-differences-to-backpropagation.md.

    python scripts/make_explain_docs.py [DIRECTORY]

A test draws them again and compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import minidl
from minidl import nn
from minidl.explaining import draw, explain, parse


def figures() -> dict[str, str]:
    """Each figure's file name and content."""
    cubic, names = parse("x**3 + 2*x")
    textbook, both = parse("log(x1) + x1*x2 - sin(x2)")
    rng = np.random.default_rng(0)
    lenet = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, rng=rng),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, rng=rng),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 84, rng=rng),
        nn.Tanh(),
        nn.Linear(84, 10, rng=rng),
    )
    return {
        "cubic.svg": explain(cubic, 3.0, names=names).graph.svg(),
        "textbook.svg": explain(textbook, 2.0, 5.0, names=both).graph.svg(),
        "lenet.svg": draw(lenet, minidl.zeros(1, 1, 28, 28)).svg(),
    }


def main() -> None:
    """Write the files."""
    default = Path(__file__).parent.parent / "docs" / "images" / "explain"
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in figures().items():
        (directory / name).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
