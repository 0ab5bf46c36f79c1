"""``minidl config show|schema|diff|init``: configs, looked at without training them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides

config = typer.Typer(help="Show, compare and begin configs.", no_args_is_help=True)


@config.callback()
def options() -> None:
    """Show, compare and begin configs."""


@config.command("show")
def show(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    source: Annotated[
        bool, typer.Option("--source", help="Say of each value whose word it is.")
    ] = False,
) -> None:
    """Print CONFIG as it is understood: includes, variables and changes in, defaults filled in."""
    with failures():
        from minidl.train.config import load_config
        from minidl.train.config.comparison import with_sources

        checked = load_config(path, overrides or [])
        print(with_sources(checked) if source else checked.to_yaml(), end="")


@config.command("schema")
def schema(
    output: Annotated[
        Path | None, typer.Option(help="The file to write; else it is shown.")
    ] = None,
) -> None:
    """Write the JSON Schema of configs, for editors."""
    from minidl.train.config.editor_schema import schema_text

    if output is None:
        print(schema_text(), end="")
        return
    try:
        output.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}", 1)


@config.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(help="A YAML file, or a run directory.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say where two configs differ once they are understood; as of diff, 1 is: they do."""
    with failures():
        from minidl.train.config.comparison import differences, load_resolved

        found = differences(load_resolved(old), load_resolved(new))
        if as_json:
            print(json.dumps([{"path": one.path, **one.sides} for one in found], indent=1))
        else:
            for one in found:
                print(one)
        raise typer.Exit(1 if found else 0)


@config.command("init")
def init(
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("config.yaml"),
    like: Annotated[
        str, typer.Option(help="The config to begin as: starter, quickstart, mnist_cnn, …")
    ] = "starter",
) -> None:
    """Write a config to begin with; a file that is there stays as it is."""
    from minidl.train.config.starters import starter_text

    try:
        text = starter_text(like)
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{output} is there already; choose another name with --output", 2)
    except ValueError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}", 1)
    print(f"{output} written; for completion in an editor, its schema beside it:")
    print(f"  minidl config schema --output {output.with_name('schema.json')}")
