"""``minidl token create|list|revoke``: who may ask a service for what.

Through the service, with an admin's token; or with ``--data`` or ``--db`` straight in its
database, on its machine, where the last admin's token is lost.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minidl.cli.asking import AsJson, TokenFile, Url, asking, note, print_json, seconds_in
from minidl.cli.failure import fail

if TYPE_CHECKING:
    from minidl.service.records import TokenRecord
    from minidl.service.store import Store

token = typer.Typer(help="Tokens of a service: make, list, revoke.")

Database = Annotated[
    str | None,
    typer.Option(
        "--db", metavar="URL", help="Straight in this database: postgresql://… or sqlite:///FILE."
    ),
]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Straight in this data directory of a service."),
]


@token.callback(no_args_is_help=True)
def options() -> None:
    """Tokens of a service: make, list, revoke."""


@token.command("create")
def create(
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose it is; jobs belong to users.")],
    role: Annotated[
        str, typer.Option(help="read: look; submit: and run own jobs; admin: everything.")
    ] = "submit",
    label: Annotated[str | None, typer.Option(help="To know it by in lists.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it lives: 12h, 30d; else for ever.")
    ] = None,
    as_json: AsJson = False,
    db: Database = None,
    data: DataDirectory = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Make a token and print it, this once: the service keeps its hash only."""
    if role not in ("read", "submit", "admin"):
        fail(f"--role {role}: there are read, submit and admin", 2)
    seconds = seconds_in(ttl, "--ttl")
    if db is not None or data is not None:
        with _store(db, data) as store:
            from minidl.service.states import Role

            made, text = store.create_token(
                user=user, role=Role(role), label=label, ttl=seconds, actor=_actor()
            )
            answer: dict[str, Any] = {"token": text, "record": _as_data(made)}
    else:
        body = {"user": user, "role": role, "label": label, "ttl": seconds}
        with asking(url, token_file) as service:
            answer = service.post("/v1/tokens", body).json()
    if as_json:
        print_json(answer)
        return
    print(answer["token"])
    note(f"the token of {user} ({role}); it is not shown again. Use it: minidl login URL")


@token.command("list")
def list_tokens(
    as_json: AsJson = False,
    db: Database = None,
    data: DataDirectory = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List tokens: who, what for, until when. Their texts are nowhere kept."""
    if db is not None or data is not None:
        with _store(db, data) as store:
            found = [_as_data(record) for record in store.tokens()]
    else:
        with asking(url, token_file) as service:
            found = service.get("/v1/tokens")["tokens"]
    if as_json:
        for one in found:
            print_json(one)
        return
    from minidl.service.client.tables import print_tokens

    print_tokens(found)


@token.command("revoke")
def revoke(
    token: Annotated[list[str], typer.Argument(metavar="ID...", help="Of `minidl token list`.")],
    db: Database = None,
    data: DataDirectory = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """End tokens at once."""
    if wrong := next((one for one in token if one.startswith("minidl_")), None):
        shown = f"{wrong[:12]}…"
        fail(f"{shown} is a token; its id is wanted, the part between the underscores", 2)
    if db is not None or data is not None:
        with _store(db, data) as store:
            for one in token:
                store.revoke_token(one, actor=_actor())
                print(f"{one} revoked")
        return
    with asking(url, token_file) as service:
        for one in token:
            service.delete(f"/v1/tokens/{one}")
            print(f"{one} revoked", flush=True)


@contextmanager
def _store(db: str | None, data: Path | None) -> Iterator[Store]:
    """Open a service's database; what goes wrong with it ends in a message."""
    if db is not None and data is not None:
        fail("--db and --data exclude each other: --data means the SQLite database in it", 2)
    try:
        from minidl.service.settings import ServiceSettings
        from minidl.service.store import Store, StoreError
        from minidl.service.store.engine import parse
    except ModuleNotFoundError as error:
        fail(f"a service's database needs {error.name}: pip install 'minidl[service]'", 2)
    if data is not None and not (data / "service.db").is_file():
        fail(f"{data} is no service's data directory: there is no service.db in it", 2)
    settings = ServiceSettings(data=data or Path(), database=db)
    try:
        address = parse(settings.database_url)
        file = address.database if address.get_backend_name() == "sqlite" else None
        if file is not None and not Path(file).is_file():  # it would be made, for nobody
            fail(f"--db {db}: there is no such file", 2)
        with Store.open(settings.database_url, data=settings.data) as store:
            yield store
    except ValueError as error:
        fail(f"--db: {error}", 2)
    except StoreError as error:
        fail(str(error), 1)


def _actor() -> str:
    """Return whom the service's events name: who works on its machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, say, whose user has no name
        user = f"uid {os.getuid()}"
    return f"{user} on the service's machine"


def _as_data(record: TokenRecord) -> dict[str, Any]:
    """Return a record as the service's answers have it: times as text."""
    data = asdict(record)
    for name in [name for name in data if name.endswith("_at") and data[name] is not None]:
        at = datetime.fromtimestamp(data[name], UTC)
        data[name] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return data
