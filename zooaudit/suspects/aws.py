"""AWS Signature Version 4, for SageMaker's endpoints and API Gateway."""

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from zooaudit.errors import ConfigError, SuspectError
from zooaudit.extras import needs
from zooaudit.suspects.addresses import guard_plain, without_keys
from zooaudit.suspects.signing import Headers, Signing
from zooaudit.suspects.transport import Refusal


class Aws:
    """AWS Signature Version 4, with credentials from the environment, files, roles or the machine, renewed
    when they expire.

    Raises:
        ConfigError: no credentials, or no region or service.
    """

    def __init__(self, signing: Signing, url: str) -> None:
        with needs("s3", 'sign = "aws"', ConfigError):
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session

        guard_plain(url, "the session's token")
        self._auth, self._request, self._error = SigV4Auth, AWSRequest, BotoCoreError
        shown, result = region_and_service(url), without_keys(url)
        try:
            session = Session(profile=signing.aws_profile or None)
            self._region = (
                signing.aws_region
                or shown[0]
                or session.get_config_variable("region")
                or os.environ.get("AWS_REGION", "")
            )
            self._credentials = session.get_credentials()
        except BotoCoreError as error:
            raise ConfigError(
                f"AWS's credentials cannot be read ({type(error).__name__}); is aws_profile right?"
            ) from error
        self._service = signing.aws_service or shown[1]
        for name, value in (("aws_region", self._region), ("aws_service", self._service)):
            if not value:
                raise ConfigError(
                    f'{result} does not show its {name.removeprefix("aws_")}; give {name}, as in "eu-west-1"'
                    ' or "sagemaker"'
                )
        if self._credentials is None:
            raise ConfigError(
                "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
                " aws_profile"
            )
        self._used: set[str] = set()

    @property
    def secrets(self) -> Iterable[str]:
        return set(self._used)

    def headers(self, method: str, url: str, kind: str, body: bytes) -> Headers | Refusal:
        try:
            frozen = self._credentials.get_frozen_credentials()
        except self._error as error:
            raise SuspectError(
                f"AWS's credentials cannot be renewed ({type(error).__name__}); log in again"
            ) from error
        self._used |= {s for s in (frozen.secret_key, frozen.token) if s}
        given = {"Content-Type": kind} if kind else {}
        request = self._request(method=method, url=url, data=body, headers=given)
        self._auth(frozen, self._service, self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name.lower() != "content-type"}

    def renewed(self, sent: Headers) -> bool:
        return False


def region_and_service(url: str) -> tuple[str, str]:
    """Region and service in the address of an AWS service, each "" if it is not there."""
    parts = (urlsplit(url).hostname or "").split(".")
    if parts[0].startswith("runtime") and parts[1:2] == ["sagemaker"] and len(parts) > 3:
        return parts[2], "sagemaker"
    for mark, service in (("execute-api", "execute-api"), ("lambda-url", "lambda")):
        if mark in parts[1:2] and len(parts) > 3:
            return parts[2], service
    return "", ""
