"""What the store raises. The messages are meant for users."""

from __future__ import annotations


class StoreError(Exception):
    """What all errors of the store have in common."""


class StoreUnavailableError(StoreError):
    """The database does not answer, is locked, full, read-only or broken.

    Nothing was changed, as far as one can know: where the connection was lost while it was asked
    to commit, the change may have been made. A submission is repeated safely with its
    Idempotency-Key.
    """


class NotFoundError(StoreError):
    """There is no such job or token."""


class WrongStateError(StoreError):
    """The job is not in a state in which this can be done."""


class QuotaError(StoreError):
    """As many jobs are waiting as may wait."""


class KeyReusedError(StoreError):
    """The Idempotency-Key was used before, with another submission."""


class LostLeadershipError(StoreError):
    """Another scheduler holds the database now: this one must stop its work."""
