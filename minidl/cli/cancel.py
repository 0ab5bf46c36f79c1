"""``minidl cancel JOB``."""

from __future__ import annotations

from minidl.cli.asking import AsJson, JobIds, TokenFile, Url, ask_of_each


def cancel(
    job: JobIds, as_json: AsJson = False, url: Url = None, token_file: TokenFile = None
) -> None:
    """End jobs. One that runs writes a checkpoint first, and can be resumed."""
    ask_of_each(job, "cancel", as_json=as_json, url=url, token_file=token_file)
