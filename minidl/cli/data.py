"""``minidl data fetch NAME --root DIR``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail

data = typer.Typer(help="Datasets.", no_args_is_help=True)


class Dataset(StrEnum):
    """What can be fetched."""

    mnist = "mnist"


@data.callback()
def options() -> None:
    """Datasets."""


@data.command("fetch")
def fetch(
    name: Annotated[Dataset, typer.Argument(help="The dataset.")],
    root: Annotated[Path, typer.Option(help="The directory to put it in.")] = Path("data"),
) -> None:
    """Download a dataset, by torchvision."""
    from minidl.data import fetch as download

    try:
        files = download(name.value, root)
    except (ModuleNotFoundError, RuntimeError, OSError) as error:
        fail(str(error), 1)
    for path in files:
        print(path)
