"""Where jobs are kept: SQLite or PostgreSQL, one transaction a call.

``Store`` is what users do (submit, list, cancel …), ``Leadership`` what the one scheduler does.
``engine`` holds the database and says what an outage looks like.
"""

from minidl.service.store.errors import (
    KeyReusedError,
    LostLeadershipError,
    NotFoundError,
    QuotaError,
    StoreError,
    StoreUnavailableError,
    WrongStateError,
)
from minidl.service.store.leadership import Leadership
from minidl.service.store.users import Store

__all__ = [
    "KeyReusedError",
    "Leadership",
    "LostLeadershipError",
    "NotFoundError",
    "QuotaError",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "WrongStateError",
]
