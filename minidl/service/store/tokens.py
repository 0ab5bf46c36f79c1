"""Tokens: 256 bits of chance each; the database has only their SHA-256.

A token is text of its own kind, ``minidl_<id>_<secret>``, so that scanners for leaked secrets can
know it. The id finds the row, the hashes are compared in constant time. A hash made to be slow, as
passwords need it, would gain nothing: nobody guesses 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import func, insert, select, update

from minidl.service import tables
from minidl.service.records import TokenRecord
from minidl.service.states import Role
from minidl.service.store.engine import Transaction
from minidl.service.store.errors import NotFoundError
from minidl.service.store.rows import ALPHABET, token_of

tokens = tables.tokens

PREFIX = "minidl"
ID_LENGTH = 8
SECRET_BYTES = 32
#: Seconds between two notes of a token's last use: no write a request.
USE_NOTED_EVERY = 60.0
#: No text has this digest (as far as anybody knows): where there is no token, it is compared with.
NOBODYS = "0" * 64


def create(
    transaction: Transaction,
    *,
    user: str,
    role: Role,
    label: str | None,
    ttl: float | None,
    actor: str,
) -> tuple[TokenRecord, str]:
    """Make a token; its text is not kept."""
    token_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    transaction.connection.execute(
        insert(tokens).values(
            id=token_id,
            user=user,
            role=role,
            label=label,
            digest=digest_of(secret),
            created_at=transaction.now,
            created_by=actor,
            expires_at=None if ttl is None else transaction.now + ttl,
        )
    )
    transaction.event(
        "token_created",
        {"token_id": token_id, "user": user, "role": role, "label": label},
        actor=actor,
    )
    return record(transaction, token_id), f"{PREFIX}_{token_id}_{secret}"


def digest_of(secret: str) -> str:
    """Return what is kept of a token's secret part."""
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(transaction: Transaction, text: str) -> TokenRecord | None:
    """Return the token of this text, None where there is none that holds."""
    token_id, secret = split(text)
    query = select(tokens).where(tokens.c.id == token_id)
    row = transaction.connection.execute(query).first()
    known = NOBODYS if row is None else str(row.digest)
    if not hmac.compare_digest(known, digest_of(secret)) or row is None:
        return None
    found = token_of(row._mapping)
    expired = found.expires_at is not None and found.expires_at <= transaction.now
    return None if expired or found.revoked_at is not None else found


def split(text: str) -> tuple[str, str]:
    """Take a token's text apart; what is no token becomes one that nobody has.

    Examples
    --------
    >>> split("minidl_0a1b2c3d_x_y")
    ('0a1b2c3d', 'x_y')
    >>> split("Basic 123")
    ('', '')
    """
    parts = text.split("_", 2)
    if len(parts) != 3 or parts[0] != PREFIX or not text.isascii() or "\0" in text:
        return "", ""
    return parts[1], parts[2]


def note_use(transaction: Transaction, token_id: str) -> None:
    """Note when a token was used last."""
    transaction.connection.execute(
        update(tokens).where(tokens.c.id == token_id).values(last_used_at=transaction.now)
    )


def revoke(transaction: Transaction, token_id: str, *, actor: str) -> TokenRecord:
    """Let a token hold no more. Twice is once."""
    found = record(transaction, token_id)
    if found.revoked_at is not None:
        return found
    transaction.connection.execute(
        update(tokens).where(tokens.c.id == token_id).values(revoked_at=transaction.now)
    )
    transaction.event("token_revoked", {"token_id": token_id, "user": found.user}, actor=actor)
    return record(transaction, token_id)


def record(transaction: Transaction, token_id: str) -> TokenRecord:
    """Read a token."""
    row = transaction.connection.execute(select(tokens).where(tokens.c.id == token_id)).first()
    if row is None:
        raise NotFoundError(f"there is no token {token_id!r}")
    return token_of(row._mapping)


def all_of(transaction: Transaction) -> list[TokenRecord]:
    """Read all tokens, the oldest first."""
    rows = transaction.connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
    return [token_of(row._mapping) for row in rows]


def count(transaction: Transaction) -> int:
    """Count the tokens that were ever made."""
    return transaction.connection.execute(select(func.count()).select_from(tokens)).scalar_one()
