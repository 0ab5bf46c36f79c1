"""The page itself: the template, filled, as one file that needs nothing else.

Jinja2 fills it, and escapes all that it is given: a class may be called ``<script>``. Style sheet
and script are written into the page, pictures into their addresses, so that the file can be sent
to somebody or kept for years.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from minidl.train.checkpoint import write_atomically
from minidl.train.reports.page.gather import Content, gather
from minidl.train.reports.records import read_run


class ReportError(RuntimeError):
    """The report cannot be made; the message says what is wanted."""


def write_report(
    directory: Path,
    output: Path,
    *,
    compared: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> Content:
    """Write the report of a run as one HTML file, and return what it tells.

    Parameters
    ----------
    compared
        Other runs, whose curves and configs are set beside its own.
    overrides
        Changes to the run's config for the evaluation: ``data.root=…`` where the data have moved.

    Raises
    ------
    RunNotFoundError
        A path holds no run.
    ReportError
        Jinja2 or Pillow is not installed, or the file cannot be written.
    """
    run = read_run(directory)
    others = [read_run(path) for path in compared]
    try:
        content = gather(run, others=others, overrides=overrides)
        page = render(content)
    except ModuleNotFoundError as error:
        raise ReportError(f"{error}: pip install 'minidl[plot]'") from error
    try:
        write_atomically(output, page.encode("utf-8"))
    except OSError as error:
        raise ReportError(f"{output}: the report cannot be written: {error}") from error
    return content


def render(content: Content) -> str:
    """Fill the template."""
    import jinja2
    from markupsafe import Markup

    files = resources.files("minidl.train.reports.page")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        Markup(files.joinpath(name).read_text(encoding="utf-8"))
        for name in ("report.css", "report.js")
    )
    template = environment.from_string(files.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(content=content, style=style, script=script)
