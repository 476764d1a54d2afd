"""What can go wrong between a model's name and its vendor's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spendhub.errors import Invalid, Missing, Unavailable


class ImpossibleUsage(Invalid):
    """Token counts that no call can have: negative, beyond reason, or a part larger than its whole."""

    code = "impossible_usage"


class UnknownModel(Missing):
    """No catalog model, alias or wildcard has this name."""

    code = "unknown_model"

    def __init__(self, name: str) -> None:
        super().__init__(f"no model is called {name[:120]!r}; GET /v1/models lists them", model=name[:120])


class ModelNotAvailable(Missing):
    """The model is in the catalog, but it or its provider is switched off."""

    code = "model_not_available"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"model {name[:120]!r} is not available: {reason}", model=name[:120], reason=reason)


class UnpricedModel(Invalid):
    """The model has no price for this moment, and the tenant refuses to guess one."""

    code = "unpriced_model"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"model {name[:120]!r} has no price, so its cost cannot be counted; add a price, or let the "
            "tenant use the default price for unpriced models",
            model=name[:120],
        )


class InvalidCatalog(Invalid):
    """A catalog file, or ROUTER_CONFIG_MODELS, cannot be used; the message names the place."""

    code = "invalid_catalog"


class DialectNotSpoken(Unavailable):
    """The provider speaks a dialect that this version cannot execute calls in (its prices still count)."""

    code = "dialect_not_spoken"


class CredentialMissing(Unavailable):
    """The provider needs a key, and the environment variable that should hold it is empty."""

    code = "credential_missing"


class UpstreamError(Unavailable):
    """The vendor gave no usable answer: no connection, a broken stream, an answer that is not its format."""

    code = "upstream_failed"


class UpstreamTimeout(UpstreamError):
    """The vendor did not answer in the time its provider row allows."""

    code = "upstream_timeout"


class UpstreamRefused(UpstreamError):
    """The vendor answered with an error; its status, headers and body are kept for the caller."""

    code = "upstream_refused"

    def __init__(self, provider: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{provider} answered {status}", retry_after_seconds=_seconds(headers), provider=provider)
        self.status = status
        self.headers = dict(headers)
        self.body = body
        self.details["upstream_status"] = status


def _seconds(headers: Mapping[str, Any]) -> int:
    value = str(headers.get("retry-after", ""))
    return min(max(int(value), 1), 86_400) if value.isascii() and value.isdigit() else 1
