"""Where the service is, and who asks: options, the environment, or a file for its owner only.

The address: ``--url``, else ``MINIDL_SERVICE_URL``, else that of the file, else this machine. The
token: ``--token-file``, else ``MINIDL_SERVICE_TOKEN``, else that of the file; and the file's token
goes to the file's address only, so that a mistyped ``--url`` gives it to nobody.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "MINIDL_SERVICE_URL"
TOKEN_VARIABLE = "MINIDL_SERVICE_TOKEN"


class SettingsError(ValueError):
    """An address, a token or a settings file that cannot be used; the message says what would."""


@dataclass(frozen=True)
class Address:
    """Where requests go, and the token that they carry, which no message shows."""

    url: str = DEFAULT_URL
    token: str | None = field(default=None, repr=False)

    @property
    def on_this_machine(self) -> bool:
        """Whether the address is a loopback one."""
        host = urlsplit(self.url).hostname or ""
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"

    @property
    def encrypted(self) -> bool:
        """Whether the token travels encrypted."""
        return self.url.startswith("https://")


def find_address(
    url: str | None = None,
    *,
    token_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Address:
    """Return the address and token to use.

    Raises
    ------
    SettingsError
        Something given cannot be used, or the settings file can be read by others.
    """
    variables = os.environ if environ is None else environ
    given = url or variables.get(URL_VARIABLE) or None
    token = variables.get(TOKEN_VARIABLE) or None
    if token_file is not None:
        token = _token_in(token_file)
    elif token is not None:
        token = checked_token(token, TOKEN_VARIABLE)
    if given is not None and token is not None:  # the file is not needed, and not looked at
        return Address(checked_url(given), token)
    stored = read_settings(settings_file(variables))
    if given is None:
        own = stored or Address()
        return Address(own.url, token or own.token)
    address = checked_url(given)
    if token is None and stored is not None and stored.url == address:
        token = stored.token
    return Address(address, token)


def settings_file(environ: Mapping[str, str] | None = None) -> Path:
    """Return where the settings lie: below ``XDG_CONFIG_HOME``, or ``~/.config``."""
    variables = os.environ if environ is None else environ
    home = variables.get("XDG_CONFIG_HOME", "")
    # The specification: a path that is not absolute is to be ignored.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "minidl" / "service.yaml"


def read_settings(path: Path) -> Address | None:
    """Return what `minidl login` has written; None where there is no file.

    Raises
    ------
    SettingsError
        Others can read the file, or there is something else in it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise SettingsError(
                    f"{path} holds a token and can be read by others (mode {mode:04o}): "
                    f"chmod 600 {path}"
                )
            data = yaml.safe_load(file)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # Of YAML's errors only the kind: their text quotes the line, which may be the token's.
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(
            f"{path} cannot be read ({why}); `minidl login URL` writes it"
        ) from None
    if not isinstance(data, dict) or not isinstance(data.get("url"), str):
        raise SettingsError(f"{path} must hold `url` and `token`; `minidl login URL` writes it")
    if unknown := sorted(str(key) for key in data if key not in ("url", "token")):
        raise SettingsError(f"{path}: there is no setting `{unknown[0]}`; there are url, token")
    token = data.get("token")
    return Address(
        checked_url(data["url"], str(path)),
        None if token is None else checked_token(str(token), str(path)),
    )


def write_settings(path: Path, address: Address) -> None:
    """Write the file that `read_settings` reads, whole or not at all, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes the file with mode 0600: at no moment can others open it.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".service-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump({"url": address.url, "token": address.token}, file, sort_keys=False)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def checked_url(text: str, where: str = "the address") -> str:
    """Return an address without its trailing slash.

    >>> checked_url("http://127.0.0.1:8080/")
    'http://127.0.0.1:8080'

    Raises
    ------
    SettingsError
        It is none that requests can go to.
    """
    wanted = "an address is http://HOST:PORT or https://HOST"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(f"{where}: {text!r} is no address; {wanted}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"{where}: {text!r} is no address; {wanted}")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            f"{where}: the service knows no passwords; leave `…@` out of the address, and give "
            f"the token by `minidl login`, --token-file or {TOKEN_VARIABLE}"
        )
    if parts.query or parts.fragment:
        raise SettingsError(f"{where}: {text!r} has a `?` or `#` in it; {wanted}")
    return text.rstrip("/")


def checked_token(text: str, where: str) -> str:
    """Return a token without the blanks around it.

    Raises
    ------
    SettingsError
        It is empty, or has characters that no token has. The message does not show it.
    """
    token = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):  # RFC 6750, section 2.1
        what = "has characters that no token has" if token else "is empty"
        raise SettingsError(f"{where}: the token {what}; tokens look like minidl_…")
    return token


def _token_in(path: Path) -> str:
    try:
        return checked_token(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"--token-file {path} cannot be read: {why}") from None
