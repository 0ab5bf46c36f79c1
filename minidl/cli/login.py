"""``minidl login URL``."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from minidl.cli.asking import needing_the_client, note
from minidl.cli.failure import fail


def login(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="The service's address.", show_default=True)
    ] = "http://127.0.0.1:8080",
) -> None:
    """Keep a service's address and your token for it, in a file that only you can read.

    The token is asked for, or read from standard input: `minidl login URL < token.txt`.
    """
    with needing_the_client():
        from minidl.service.client.connection import Connection
        from minidl.service.client.refusals import ServiceError
        from minidl.service.client.settings import (
            Address,
            SettingsError,
            checked_token,
            checked_url,
            settings_file,
            write_settings,
        )
    try:
        place = checked_url(url)
        asked = sys.stdin.isatty()
        given = getpass.getpass("token: ") if asked else sys.stdin.readline()
        address = Address(place, checked_token(given, "the token" if asked else "standard input"))
        with Connection(address, say=note) as connection:
            me = connection.get("/v1/me")
        path = settings_file()
        write_settings(path, address)
    except SettingsError as error:
        fail(str(error), 2)
    except ServiceError as error:
        fail(str(error), error.exit_status)
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}", 1)
    print(f"{place}: you are {me['user']} ({me['role']}); kept in {path}")
    if not (address.encrypted or address.on_this_machine):
        note(f"the token travels unencrypted to {place}: have the service behind TLS")
