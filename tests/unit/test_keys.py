"""Who may do what: keys, their scopes, rates and ends."""

import datetime
import hashlib
from pathlib import Path

import pytest

from zooaudit.errors import ConfigError
from zooaudit.serving.keys import FRESH_S, Key, Keyring, Limiter, new_key, read_keys

KEY = "a-key-of-a-test"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def test_a_new_key_is_found_by_its_entry(tmp_path: Path) -> None:
    key, entry = new_key("team-a", ("read", "score"), 600, datetime.date(2030, 1, 2))
    other, more = new_key("team-b", ("read",), 0, None)
    path = tmp_path / "keys.toml"
    path.write_text(entry + more)
    ring = Keyring((DIGEST,), path)
    found = ring.find(key)
    assert found == Key(
        "team-a", hashlib.sha256(key.encode()).hexdigest(), ("read", "score"), 600, datetime.date(2030, 1, 2)
    )
    assert (
        found is not None
        and not found.expired(datetime.date(2030, 1, 1))
        and found.expired(datetime.date(2030, 1, 2))
    )
    assert ring.find(other) == Key("team-b", hashlib.sha256(other.encode()).hexdigest(), ("read",))
    fixed = ring.find(KEY)
    assert fixed is not None and fixed.scopes == ("read", "score", "audit")
    assert not any(map(ring.find, ("", "another", DIGEST, KEY + " ", "ключ")))
    assert key not in path.read_text() and not ring.open and Keyring().open
    assert DIGEST not in repr(fixed)


def test_a_keys_file_that_changes_is_read_again_and_one_that_is_broken_changes_nothing(
    tmp_path: Path,
) -> None:
    now, path = [0.0], tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nname = "a"\nsha256 = "{DIGEST}"\n')
    ring = Keyring((), path, clock=lambda: now[0])
    assert ring.find(KEY)
    path.write_text("[[key]]\nname = ")
    now[0] += FRESH_S + 1
    assert ring.find(KEY) and "cannot be read" in ring.trouble
    path.write_text("")
    now[0] += FRESH_S + 1
    assert ring.find(KEY) is None and ring.trouble == ""
    path.unlink()
    now[0] += FRESH_S + 1
    assert ring.find(KEY) is None and ring.trouble


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key = 3", r"has key = 3; expected \[\[key\]\] entries"),
        ("[[key]]\nname = 'a'", "a key has name; expected name and sha256"),
        (f"[[key]]\nname = 'a'\nsha256 = '{KEY}'", "no SHA-256 of 64 hex digits"),
        (f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\ncolour = 1", "colour"),
        (
            f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\nscopes = ['all']",
            r"scopes are \['all'\]; expected some of read, score, audit, admin",
        ),
        (f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\nscopes = []", "scopes are none"),
        (f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\nper_minute = -1", "per_minute is -1"),
        (f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\nexpires = 'soon'", "expires 'soon'; expected a date"),
        (f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\n" * 2, "two keys of one name"),
    ],
)
def test_what_is_no_keys_file_says_so_and_shows_no_key(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_keys(tmp_path / "keys.toml")
    assert KEY not in str(caught.value)


def test_a_limit_is_a_bucket_that_fills_up_within_a_minute() -> None:
    now = [0.0]
    limiter, key = Limiter(lambda: now[0]), Key("a", DIGEST, per_minute=6)
    assert [limiter.wait_s(key) for _ in range(7)] == [0] * 6 + [10]
    now[0] = 10
    assert limiter.wait_s(key) == 0 and limiter.wait_s(key) == 10
    now[0] = 1000
    assert [limiter.wait_s(key) for _ in range(7)] == [0] * 6 + [10], (
        "no more than a minute's worth is saved up"
    )
    assert all(limiter.wait_s(Key("b", DIGEST)) == 0 for _ in range(100))
