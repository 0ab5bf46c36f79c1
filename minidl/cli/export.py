"""``minidl export RUN MODEL.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The .onnx file to write.")],
) -> None:
    """Write the best model of a run as ONNX; it takes normalized samples and gives logits."""
    with failures():
        from minidl.train.inference import load_best

        model, sample_shape = load_best(run)
        try:
            from minidl.nn.summary import model_dtype
            from minidl.train.inference import export_onnx

            export_onnx(model, sample_shape, output)
        except ModuleNotFoundError as error:
            fail(f"{error}: pip install 'minidl[onnx]'", 1)
        except TypeError as error:
            fail(str(error), 1)
        shape = ", ".join(map(str, sample_shape))
        print(f"{output}: input (batch, {shape}), {model_dtype(model)}")
