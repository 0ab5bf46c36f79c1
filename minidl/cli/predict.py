"""``minidl predict RUN IMAGE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    image: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE",
            help="A picture (.png, …) or an array (.npy), bright on dark as in MNIST.",
        ),
    ],
) -> None:
    """Say which class an image is of, with the probability of each."""
    with failures():
        from minidl.data import read_image
        from minidl.train.inference import Predictor, find_model

        predictor = Predictor.load(find_model(run))
        shape = predictor.sample_shape
        if predictor.task != "Classification" or predictor.dtype != "uint8" or len(shape) != 3:
            fail(
                f"{run}: `predict` names the class of a picture, and this model ("
                f"{predictor.task}) takes {predictor.dtype} {list(shape)}; ask it over HTTP: "
                f"minidl serve {run}",
                2,
            )
        try:
            pixels = read_image(image, sample_shape=(shape[0], shape[1], shape[2]))
        except (OSError, ValueError, ModuleNotFoundError) as error:
            fail(str(error), 2)
        probabilities = predictor.probabilities(pixels[None])[0]
        best = int(probabilities.argmax())
        print(f"{predictor.classes[best]}  ({100 * probabilities[best]:.2f} %)")
        for name, probability in zip(predictor.classes, probabilities, strict=True):
            bar = "█" * round(30 * float(probability))
            print(f"  {name:>4}  {probability:8.4f}  {bar}")
