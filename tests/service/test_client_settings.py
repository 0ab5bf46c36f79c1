"""Where the address and the token come from, and who gets to see the token."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from minidl.service.client.settings import (
    Address,
    SettingsError,
    checked_token,
    checked_url,
    find_address,
    read_settings,
    settings_file,
    write_settings,
)

TOKEN = "minidl_abcdefgh_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_this_machine_is_asked_where_nothing_is_said(environ: dict[str, str]) -> None:
    assert find_address(environ=environ) == Address("http://127.0.0.1:8080", None)


def test_what_login_writes_is_read_and_only_its_owner_may(environ: dict[str, str]) -> None:
    path = settings_file(environ)
    write_settings(path, Address("https://train.example", TOKEN))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["service.yaml"]
    assert find_address(environ=environ) == Address("https://train.example", TOKEN)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_a_file_that_others_can_read_is_refused(environ: dict[str, str], mode: int) -> None:
    path = settings_file(environ)
    write_settings(path, Address("https://train.example", TOKEN))
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode 0{mode:o}.*chmod 600 {path}"):
        find_address(environ=environ)
    path.chmod(0o400)
    assert find_address(environ=environ).token == TOKEN


def test_options_rule_then_the_environment_then_the_file(
    environ: dict[str, str], tmp_path: Path
) -> None:
    write_settings(settings_file(environ), Address("http://file", "from-file"))
    given = tmp_path / "token"
    given.write_text("from-option\n")
    environ |= {"MINIDL_SERVICE_URL": "http://variable/", "MINIDL_SERVICE_TOKEN": "from-variable"}
    assert find_address(environ=environ) == Address("http://variable", "from-variable")
    assert find_address("http://option", environ=environ).url == "http://option"
    assert find_address(token_file=given, environ=environ).token == "from-option"


@pytest.mark.parametrize("place", ["option", "variable"])
def test_the_files_token_goes_to_the_files_address_only(
    environ: dict[str, str], place: str
) -> None:
    write_settings(settings_file(environ), Address("http://file:8080", TOKEN))
    for url, token in [("http://other:8080", None), ("http://file:8080/", TOKEN)]:
        variables = environ | ({"MINIDL_SERVICE_URL": url} if place == "variable" else {})
        found = find_address(url if place == "option" else None, environ=variables)
        assert found == Address(url.rstrip("/"), token)


def test_a_damaged_file_is_not_in_the_way_of_who_does_not_need_it(
    environ: dict[str, str], tmp_path: Path
) -> None:
    path = settings_file(environ)
    path.parent.mkdir()
    path.write_text("url: [")
    given = tmp_path / "token"
    given.write_text(TOKEN)
    assert find_address("http://a", token_file=given, environ=environ).token == TOKEN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url: [", "cannot be read"),
        ("just text", "must hold `url` and `token`"),
        ("url: http://a\npassword: x", "there is no setting `password`"),
        (f"url: http://a\ntoken: '{TOKEN} {TOKEN}'", "has characters that no token has"),
    ],
)
def test_a_file_with_something_else_in_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=message) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1:8080", "is no address; an address is http://HOST:PORT"),
        ("ftp://host", "is no address"),
        ("http://", "is no address"),
        ("http://host:port", "is no address"),
        ("http://me:secret@host", "knows no passwords"),
        ("http://host/?token=1", r"has a `\?` or `#` in it"),
    ],
)
def test_what_is_no_address(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        checked_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "  \n", "two words", "line\nline", "ä", "a:b"])
def test_what_is_no_token_is_not_shown(text: str) -> None:
    with pytest.raises(SettingsError, match=r"the token (is empty|has characters)"):
        checked_token(text, "standard input")


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example", False),
    ],
)
def test_which_addresses_are_this_machines(url: str, here: bool) -> None:
    assert Address(url).on_this_machine == here


def test_a_token_is_in_no_representation() -> None:
    assert TOKEN not in repr(Address("http://a", TOKEN))


def test_a_relative_xdg_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.sep + "home")
    assert settings_file({"XDG_CONFIG_HOME": "here"}) == Path("/home/.config/minidl/service.yaml")
