"""Choose what signs a suspect's requests, by its description."""

from zooaudit.suspects.aws import Aws
from zooaudit.suspects.oauth import Fetch, OAuth
from zooaudit.suspects.signing import Key, Signer, Signing


def signer_of(signing: Signing, url: str, fetch: Fetch) -> Signer:
    """The signer for requests to an address.

    Args:
        fetch: asks a token server.

    Raises:
        ConfigError: a secret is missing, or would be readable in transit.
    """
    if signing.sign == "oauth":
        return OAuth(signing, url, fetch)
    return Aws(signing, url) if signing.sign == "aws" else Key(signing, url)
