"""``minidl retry JOB``."""

from __future__ import annotations

from minidl.cli.asking import AsJson, JobIds, TokenFile, Url, ask_of_each


def retry(
    job: JobIds, as_json: AsJson = False, url: Url = None, token_file: TokenFile = None
) -> None:
    """Queue jobs that have ended once more, from the beginning."""
    ask_of_each(job, "retry", as_json=as_json, url=url, token_file=token_file)
