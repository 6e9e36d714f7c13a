"""The token of a private Ray cluster."""

import os
from pathlib import Path

import pytest

from zooaudit.errors import ConfigError
from zooaudit.training import token
from zooaudit.training.token import guard_token


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (token.TOKEN, token.MODE, token.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_it_is_made_for_its_owners_eyes_only_and_kept(place: Path) -> None:
    before = os.umask(0)
    try:
        guard_token()
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o600 and place.parent.stat().st_mode & 0o777 == 0o700
    made = place.read_text()
    assert len(made) == 64
    guard_token()
    assert place.read_text() == made


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_one_that_others_may_read_is_refused(mode: int, place: Path) -> None:
    place.parent.mkdir()
    place.write_text("a" * 64)
    place.chmod(mode)
    with pytest.raises(
        ConfigError, match=rf"has mode {mode:o}, so that other users .* expected 600: chmod 600 .*auth_token"
    ):
        guard_token()
    place.chmod(0o600)
    guard_token()


def test_where_none_is_used_none_is_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token.MODE, "disabled")
    guard_token()
    monkeypatch.delenv(token.MODE)
    monkeypatch.setenv(token.TOKEN, "b" * 64)
    guard_token()
    assert not place.parent.exists()
    monkeypatch.delenv(token.TOKEN)
    monkeypatch.setenv(token.TOKEN_PATH, str(place.with_name("other")))
    guard_token()
    assert place.with_name("other").exists() and not place.exists()


def test_a_place_that_cannot_be_written_is_named(place: Path) -> None:
    place.parent.write_text("no folder")
    with pytest.raises(ConfigError, match=r"auth_token cannot be made or read"):
        guard_token()
