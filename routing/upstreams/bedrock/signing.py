"""How a request to Bedrock says who asks: an API key as a bearer token, or a signature made with an AWS access key.

An access key is given as one text, `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, a temporary one with `:SESSION_TOKEN` behind it;
no part can have a colon of its own, and an API key has none at all. Signing needs botocore (an extra,
requirements-bedrock.txt), which is imported with the first signature.
Source: docs.aws.amazon.com, "Use an Amazon Bedrock API key", "Create a signed AWS API request".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from routing.errors import CredentialUnusable, SigningUnavailable
from routing.model_facts import ModelFacts

SERVICE = "bedrock"
PACKAGE, REQUIREMENTS = "botocore", "requirements-bedrock.txt"
_ACCESS_KEY_ID = re.compile(r"[A-Z0-9]{16,128}")
# bedrock-runtime.eu-central-1.amazonaws.com, bedrock-runtime-fips.us-east-1..., vpce-1.bedrock-runtime.us-east-1...
_REGION = re.compile(r"\bbedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d+)\b")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An AWS access key; `session` is the token of a temporary one, "" for a lasting one."""

    id: str
    secret: str
    session: str = ""


def is_access_key(credential: str) -> bool:
    """Whether it is one to sign with, and no API key; it may still be malformed."""
    return ":" in credential


def authentication_headers(
    model: ModelFacts, credential: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """The headers that say who asks; `headers` are signed with them.

    Raises CredentialUnusable for a key of no known form, or an address that names no region to sign for, and
    SigningUnavailable when botocore is not installed.
    """
    if not credential:
        return {}
    if not is_access_key(credential):
        return {"authorization": f"Bearer {credential}"}
    key = _access_key(model, credential)
    return _signature(key, _region(model), url, headers, body)


def _access_key(model: ModelFacts, credential: str) -> AccessKey:
    parts = credential.split(":")
    if len(parts) not in (2, 3) or not all(parts) or not _ACCESS_KEY_ID.fullmatch(parts[0]):
        raise CredentialUnusable(
            model.provider.name, "it is neither an API key nor ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]"
        )
    return AccessKey(*parts)


def _region(model: ModelFacts) -> str:
    found = _REGION.search(model.base_url)
    if found is None:
        raise CredentialUnusable(
            model.provider.name, f"its address names no region (bedrock-runtime.REGION): {model.base_url}"
        )
    return found[1]


def _signature(key: AccessKey, region: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise SigningUnavailable(PACKAGE, REQUIREMENTS) from None
    request = AWSRequest(method="POST", url=url, headers=dict(headers), data=body)
    SigV4Auth(Credentials(key.id, key.secret, key.session or None), SERVICE, region).add_auth(request)
    signed = {name.lower(): str(value) for name, value in request.headers.items()}
    return {name: value for name, value in signed.items() if name not in headers}
