"""``minidl jobs``: the jobs of a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from minidl.cli.asking import AsJson, TokenFile, Url, asking, labels_of, note, print_json
from minidl.cli.failure import fail

_EVERY = 2.0  # seconds between two looks


def jobs(
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="Only these: queued, starting, running, cancelling, succeeded, failed, "
            "timed_out, cancelled; repeatable.",
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="USER", help="Only of this user.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only training, or only sweep.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only with this label; repeatable: with all."),
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only with this in the name.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 30,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep the table up to date, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List jobs, the newest first."""
    filters: dict[str, Any] = {"state": state, "owner": owner, "kind": kind, "q": search}
    filters["label"] = [f"{key}={value}" for key, value in labels_of(label).items()]
    with asking(url, token_file) as service:
        from minidl.service.client.jobs import jobs as listed

        def look() -> tuple[list[dict[str, Any]], bool]:
            return listed(service, limit=None if everything else limit, **filters)

        if watch:
            _watch(look, as_json=as_json)
            return
        found, more = look()
        if as_json:
            for job in found:
                print_json(job)
        elif found:
            from minidl.service.client.tables import print_jobs

            print_jobs(found)
        else:
            narrowed = any(filters.values())
            print("no job is so" if narrowed else "no jobs yet; `minidl submit CONFIG` makes one")
        if more:
            note(f"these are the newest {len(found)}; --limit N or --all shows more")


def _watch(look: Callable[[], tuple[Sequence[Any], bool]], *, as_json: bool) -> None:
    import io

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from minidl.service.client.tables import print_jobs
    from minidl.train.reports.terminal import Page

    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        fail("--watch draws on a terminal: leave it out here", 2)
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            drawn = io.StringIO()
            paper = Console(
                file=drawn,
                force_terminal=True,
                width=console.width,
                color_system=console.color_system,  # type: ignore[arg-type]
                highlight=False,
            )
            print_jobs(look()[0], Page(paper))
            live.update(Text.from_ansi(drawn.getvalue()), refresh=True)
            time.sleep(_EVERY)
