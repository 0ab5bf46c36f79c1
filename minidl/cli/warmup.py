"""``minidl warmup``: compile kernels ahead."""

from __future__ import annotations

from typing import Annotated

import typer


def warmup(
    double: Annotated[
        bool, typer.Option("--double", help="For float64 too; trainings are in float32.")
    ] = False,
) -> None:
    """Compile all kernels now, once on a machine, so that no training waits for it."""
    import numpy as np

    from minidl.cli.failure import fail
    from minidl.kernels.warmup import warm

    try:
        done = warm((np.float32, np.float64) if double else (np.float32,))
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        fail("minidl warmup: numba is not there or does not work: pip install 'minidl[fast]'", 1)
    where = f"kept in {done.place}" if done.place else "not kept: set NUMBA_CACHE_DIR"
    typer.echo(f"{done.kernels} kernels in {done.seconds:.1f} s, {where}")
