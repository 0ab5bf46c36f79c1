"""``minidl data fetch NAME --root DIR`` and ``minidl data show CONFIG``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides

data = typer.Typer(help="Datasets.", no_args_is_help=True)


class Dataset(StrEnum):
    """What can be fetched."""

    mnist = "mnist"
    fashionmnist = "fashionmnist"
    kmnist = "kmnist"
    emnist = "emnist"
    usps = "usps"
    cifar10 = "cifar10"
    cifar100 = "cifar100"


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


@data.command("show")
def show(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("data.png"),
    rows: Annotated[int, typer.Option(min=1, max=64, help="Rows of 16 images.")] = 6,
) -> None:
    """Draw training samples as the model of CONFIG will see them, augmented."""
    with failures():
        from minidl.train.reports.sheet import training_sheet

        print(training_sheet(config, overrides or [], output, rows=rows))
