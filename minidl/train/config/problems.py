"""What is wrong with a config, said so that its writer can mend it at once.

A ``Problem`` names the place (file, line, column), shows the line with a caret under the text, and
where it can says what was probably meant. A ``ConfigError`` holds all problems of a config, so
that three mistakes cost one run of ``minidl validate`` and not three.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SNIPPET_WIDTH = 88  # a longer line is shown as the part around the caret
PROBLEMS_SHOWN = 50  # a damaged file can hold thousands; nobody reads more than the first ones


@dataclass(frozen=True)
class Place:
    """Where a value was written; lines and columns count from 1.

    ``line`` and ``column`` are None where a value has no line: on the command line and in data
    that Python code handed over. ``file`` then says it all (``command line: optimizer.lr=abc``).
    """

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


@dataclass(frozen=True)
class Problem:
    """One mistake: its place, what is wrong, the offending line, and what would be right."""

    file: str
    line: int | None
    column: int | None
    message: str
    snippet: str = ""
    suggestion: str | None = None

    @classmethod
    def at(
        cls, place: Place, message: str, *, text: str = "", suggestion: str | None = None
    ) -> Problem:
        """Make the problem at ``place`` of the file whose whole text is ``text``."""
        shown = snippet(text, place.line, place.column or 1) if place.line else ""
        return cls(place.file, place.line, place.column, message, shown, suggestion)

    def as_data(self) -> dict[str, str | int | None]:
        """Return the problem as programs want it; lines and columns count from 1."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "suggestion": self.suggestion,
        }

    def __str__(self) -> str:
        lines = [f"{Place(self.file, self.line, self.column)}: {self.message}"]
        lines += [f"    {line}" for line in self.snippet.splitlines()]
        if self.suggestion:
            lines.append(f"  {self.suggestion}")
        return "\n".join(lines)


class ConfigError(ValueError):
    """A config that cannot be run, with everything that is wrong with it.

    Parameters
    ----------
    files
        Names in the order in which their problems are told; others follow as they come.

    Attributes
    ----------
    problems : list of Problem
        File by file, each from its top; those of the command line come last.
    """

    def __init__(self, problems: Iterable[Problem], files: Iterable[str] = ()) -> None:
        unique = list(dict.fromkeys(problems))  # an alias repeats its target's mistakes
        names = [*files, *(problem.file for problem in unique)]
        rank = {name: at for at, name in reversed(list(enumerate(names)))}

        def order(problem: Problem) -> tuple[int, int, int, int]:
            if problem.line is None:
                return 1, 0, 0, 0
            return 0, rank[problem.file], problem.line, problem.column or 0

        self.problems: list[Problem] = sorted(unique, key=order)
        super().__init__(self.problems)

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN]]
        left = len(self.problems) - len(shown)
        return "\n".join([*shown, f"… and {left} more problems"] if left else shown)


def snippet(text: str, line: int, column: int) -> str:
    """Return line number ``line`` of ``text`` with a caret under ``column`` on a second line."""
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    start = max(0, column - SNIPPET_WIDTH // 2) if len(shown) > SNIPPET_WIDTH else 0
    # A tab would be drawn wider than the one column it counts for, and the caret would be off.
    shown = shown[start : start + SNIPPET_WIDTH].replace("\t", " ")
    return f"{shown}\n{' ' * (column - 1 - start)}^"


def same_but_for_spelling(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that differs from ``word`` only in case, ``_``, ``-`` or blanks."""
    return next((name for name in candidates if _fold(name) == _fold(word)), None)


def similar(word: str, candidates: Sequence[str], *, cutoff: float = 0.65) -> str | None:
    """Return the candidate nearest to ``word``, or None where none is nearer than ``cutoff``.

    A name spelt out is known by its initials too: ``learning_rate`` for ``lr``.
    """
    if len(word) > 60:  # no name is that long, and comparing long words is slow
        return None
    initials = "".join(part[:1] for part in word.lower().split("_"))
    if len(initials) > 1 and initials in candidates:
        return initials
    by_fold = {_fold(name): name for name in candidates}
    nearest = difflib.get_close_matches(_fold(word), by_fold, n=1, cutoff=cutoff)
    return by_fold[nearest[0]] if nearest else None


def did_you_mean(word: str, candidates: Sequence[str]) -> str | None:
    """Return "did you mean `…`?" for a misspelt ``word``, or None."""
    name = same_but_for_spelling(word, candidates) or similar(word, candidates)
    return f"did you mean `{name}`?" if name else None


def clip(text: str, limit: int = 60) -> str:
    """Return ``text``, cut where it is longer than any name or number that someone meant."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def show(value: object, *, limit: int = 40) -> str:
    """Say ``value`` in YAML's words: ``text "abc"``, ``-3``, ``true``, ``null``, ``a list``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'text "{clip(value, limit)}"'
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    if isinstance(value, (int, float)):
        return ".nan" if value != value else repr(value)
    return "a mapping" if isinstance(value, dict) else "a list"


def _fold(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "").replace(" ", "")
