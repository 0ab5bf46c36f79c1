"""``minidl serve RUN``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures


def serve(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run directory, its folder `model`, or a model logged to MLflow."
        ),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen at; there are no passwords.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Samples that the model is given at once.")
    ] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="Milliseconds to wait for others to join.")
    ] = 0.0,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Samples that may wait, and that one request may have.")
    ] = 1024,
    max_body_mib: Annotated[
        float, typer.Option(min=0.001, max=1024, help="Size of a request.")
    ] = 16.0,
) -> None:
    """Answer predictions of a run's best model over HTTP, until Ctrl-C or SIGTERM."""
    with failures():
        try:
            from minidl.serving import server
            from minidl.serving.answering import Settings
            from minidl.serving.app import create_app
            from minidl.serving.served_model import ServedModel
        except ModuleNotFoundError as error:
            fail(f"`serve` needs {error.name}: pip install 'minidl[serve]'", 2)
        try:
            listener = server.listen(host, port)
        except OSError as error:
            fail(str(error), 2)
        with listener:
            served = ServedModel.load(run)
            served.warm_up(max_batch)
            settings = Settings(
                max_batch=max_batch,
                max_wait=max_wait_ms / 1000,
                max_queue=max_queue,
                max_body=int(max_body_mib * 2**20),
            )
            url = server.url_of(listener)
            shape = list(served.predictor.sample_shape)
            print(
                f"{served.name}: {served.predictor.task}, takes {served.predictor.dtype} {shape}, "
                f"sha256 {served.digest[:12]}"
            )
            print(f"listening at {url} (Ctrl-C ends it); try")
            if served.takes_pictures:
                print(f"  curl -F image=@picture.png {url}/predict/image")
            print(f"  curl -s {url}/example | curl --json @- {url}/predict")
            print(f"  {url}/docs", flush=True)
            server.run(create_app(served, settings), listener)
