"""OAuth2 client credentials: a token from a token server, renewed in time."""

import base64
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from zooaudit.errors import StoppedError, SuspectError
from zooaudit.suspects.addresses import guard_plain, without_keys
from zooaudit.suspects.retry_after import object_of, seconds_of
from zooaudit.suspects.signing import Headers, Signing, secret
from zooaudit.suspects.transport import Refusal

EARLY_S, EARLY = 60.0, 0.1
"""A token is renewed this long before it expires, or in the last tenth of its life if that is shorter."""
Fetch = Callable[[str, Headers, bytes], tuple[int, Mapping[str, str], str]]
"""POST: from address, headers and body to status, headers (names in lower case) and text. Raises SuspectError
if the server cannot be reached."""


class OAuth:
    """Client credentials, RFC 6749 section 4.4: the token is fetched when it is first needed, shortly before
    it expires, and once after a 401.

    Args:
        fetch: asks the token server.
        clock: in seconds.
    """

    def __init__(
        self, signing: Signing, url: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._signing, self._fetch, self._clock = signing, fetch, clock
        self._id = secret(signing.oauth_id_env, "oauth_id_env the client's id")
        self._secret = secret(signing.oauth_secret_env, "oauth_secret_env the client's secret")
        guard_plain(signing.oauth_url, "the client's secret")
        guard_plain(url, "the token")
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0
        self._used: set[str] = set()

    @property
    def secrets(self) -> Iterable[str]:
        return {self._secret, quote(self._secret, safe=""), *self._used}

    def headers(self, method: str, url: str, kind: str, body: bytes) -> Headers | Refusal:
        with self._lock:  # other threads wait for the one that fetches the token
            if not self._token or self._clock() >= self._until:
                refusal = self._fetched()
                if refusal:
                    return refusal
            return {"Authorization": f"Bearer {self._token}"}

    def renewed(self, sent: Headers) -> bool:
        with self._lock:
            if sent.get("Authorization") == f"Bearer {self._token}":  # else another thread has renewed it
                self._token = ""
        return True

    def _fetched(self) -> Refusal | None:
        signing = self._signing
        form = {
            "grant_type": "client_credentials",
            "scope": signing.oauth_scope,
            "audience": signing.oauth_audience,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if signing.oauth_body:
            form |= {"client_id": self._id, "client_secret": self._secret}
        else:
            pair = f"{quote(self._id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            status, result, text = self._fetch(
                signing.oauth_url, headers, urlencode({k: v for k, v in form.items() if v}).encode()
            )
        except StoppedError:
            raise
        except SuspectError as error:
            return Refusal(f"is not asked: {error}")
        if status == 429 or status >= 500:
            return Refusal(
                f"is not asked: the token server answers {status}",
                wait_s=seconds_of(result.get("retry-after", ""), time.time()),
            )
        found = object_of(text)
        token, kind, life = (
            found.get("access_token"),
            found.get("token_type", "bearer"),
            found.get("expires_in"),
        )
        if (
            status != 200
            or not isinstance(token, str)
            or not token.isprintable()
            or not token.isascii()
            or str(kind).lower() != "bearer"
        ):
            raise SuspectError(f"{without_keys(signing.oauth_url)} gives no token{self._why(status, found)}")
        seconds = seconds_of(str(life), 0.0) if isinstance(life, int | float | str) else 0.0
        self._until = self._clock() + (seconds - min(EARLY_S, EARLY * seconds) if seconds else float("inf"))
        self._token = token
        self._used.add(token)
        return None

    def _why(self, status: int, found: Mapping[str, Any]) -> str:
        if status == 200:
            return ": expected JSON with access_token, of the type bearer"
        result = found.get("error")
        named = f" ({result[:40]})" if isinstance(result, str) and result.isprintable() else ""
        variables = f"{self._signing.oauth_id_env} and {self._signing.oauth_secret_env}"
        return (
            f": it answers {status}{named}; are the client's id and secret in {variables}, and the scope"
            " right?"
        )
