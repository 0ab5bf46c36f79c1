"""Compiled kernels that lie beside the code, found also where nobody may write there.

numba keeps what it compiles in the first of several directories that it can write to: the one of
NUMBA_CACHE_DIR, the code's own ``__pycache__``, the user's. It reads in that one only, so what was
compiled ahead for all users of an installation, or for a container image whose files are
read-only, would be compiled again by each process. Here the code's own directory is read in any
case. What was compiled for another processor or by another numba is not taken: numba's index has
both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import caching


class _Beside(caching.InTreeCacheLocator):  # type: ignore[misc, unused-ignore]
    def ensure_cache_path(self) -> None:
        """Ask for no right to write, and make no directory."""


class _BesideImpl(caching.CompileResultCacheImpl):  # type: ignore[misc, unused-ignore]
    _locator_classes = [_Beside]  # type: ignore[assignment, unused-ignore]  # noqa: RUF012


class _BesideCache(caching.FunctionCache):  # type: ignore[misc, unused-ignore]
    _impl_class = _BesideImpl


class KeptKernel(caching._Cache):  # type: ignore[misc, unused-ignore]
    """One function's compiled versions: where numba keeps them, and beside the code.

    Parameters
    ----------
    function
        What is compiled.
    usual
        Where numba looks, and keeps what it compiles; it may be a place that keeps nothing.
    """

    def __init__(self, function: Callable[..., None], usual: Any) -> None:
        self._usual = usual
        self._beside: Any = _BesideCache(function)  # type: ignore[no-untyped-call, unused-ignore]
        self._found_beside = False

    @property
    def cache_path(self) -> Any:
        """Where the versions of this process are kept; None for nowhere."""
        return (self._beside if self._found_beside else self._usual).cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the version for a signature, or None."""
        if (found := self._usual.load_overload(sig, target_context)) is not None:
            return found
        try:
            found = self._beside.load_overload(sig, target_context)
        except OSError:  # there, and not for us to read
            return None
        self._found_beside |= found is not None
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a version, in the usual place."""
        self._usual.save_overload(sig, data)

    def enable(self) -> None:
        """Begin to keep versions."""
        self._usual.enable()

    def disable(self) -> None:
        """Keep none."""
        self._usual.disable()

    def flush(self) -> None:
        """Forget those of the usual place."""
        self._usual.flush()
