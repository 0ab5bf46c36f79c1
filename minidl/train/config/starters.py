"""Configs that a new one can begin as: those of ``configs/``, which come with the package."""

from __future__ import annotations

import difflib
from pathlib import Path

STARTER = "starter"


def shipped() -> dict[str, Path]:
    """Return the configs that come with minidl, by name."""
    package = Path(__file__).parents[2]
    # In an installed package they lie inside; in a checkout, beside.
    for directory in (package / "configs", package.parent / "configs"):
        if (directory / f"{STARTER}.yaml").is_file():
            return {path.stem: path for path in sorted(directory.glob("*.yaml"))}
    return {}


def starter_text(like: str = STARTER) -> str:
    """Return the text of the shipped config of this name.

    Raises
    ------
    ValueError
        There is none.
    """
    known = shipped()
    if like not in known:
        near = difflib.get_close_matches(like, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no config is called {like!r}; {hint}there are: {', '.join(known)}")
    return known[like].read_text(encoding="utf-8")
