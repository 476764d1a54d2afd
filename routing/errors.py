"""What can go wrong between a model's name and its vendor's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

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


class InvalidRoute(Invalid):
    """A route, or an option of its strategy, is not what it must be; the message names the option."""

    code = "invalid_route"


class UnknownStrategy(Invalid):
    """No strategy has this name; `details.known` lists those there are."""

    code = "unknown_strategy"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"no strategy is called {name[:60]!r}; there are {', '.join(known)}",
            field="strategy", strategy=name[:60], known=list(known),
        )  # fmt: skip


class NoModelFits(Unavailable):
    """No model can do what the request needs and its caller demands; the message says which comes nearest and what that
    one falls out for, `details` what is demanded, and why each model falls out (the first 20)."""

    code = "no_model_fits"

    def __init__(
        self, name: str, reason: str, demanded: Mapping[str, Any], fell_out: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__(
            f"no model fits this call of {name[:120]!r}: {reason}",
            retry_after_seconds=None,
            model=name[:120],
            demanded=dict(demanded),
            fell_out=[{"model": model, "reason": why} for model, why in fell_out[:20]],
        )
        self.fell_out = tuple(fell_out)


class DialectNotSpoken(Unavailable):
    """The provider speaks a dialect that this version cannot execute calls in (its prices still count)."""

    code = "dialect_not_spoken"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, retry_after_seconds=None, **details)


class CredentialMissing(Unavailable):
    """The provider needs a key, and neither a vendor key nor its environment variable holds one."""

    code = "credential_missing"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, retry_after_seconds=None, **details)


class CredentialUnreadable(CredentialMissing):
    """The provider's keys were sealed with a key that is gone (see SPENDHUB_ENCRYPTION_KEYS): enter them again."""

    code = "credential_unreadable"

    def __init__(self, provider: str = "") -> None:
        whose = f"no key of provider {provider} can be read" if provider else "a vendor key cannot be read"
        super().__init__(
            f"{whose}: it was sealed with a key that is neither in SPENDHUB_ENCRYPTION_KEYS nor made from this "
            "SECRET_KEY; enter it again",
            provider=provider,
        )


class CredentialUnusable(CredentialMissing):
    """The provider's key has no form that its dialect knows, or cannot be used at its address; `message` says why."""

    code = "credential_unusable"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"the key of provider {provider} cannot be used: {reason}", provider=provider)


class SigningUnavailable(CredentialMissing):
    """Calls with a key of this kind must be signed, and the package that signs them, `package`, is not installed."""

    code = "signing_unavailable"

    def __init__(self, package: str, requirements: str) -> None:
        super().__init__(
            f"calls with this key must be signed, and the package {package} is not installed: "
            f"pip install -r {requirements}",
            package=package,
        )


class CircuitOpen(Unavailable):
    """The vendor has kept failing with this model and is left alone; `retry_after_seconds` says for how long. None: it
    has been stopped by hand."""

    code = "circuit_open"

    def __init__(self, model: str, retry_after_seconds: int | None) -> None:
        why = f"has kept failing and is left alone for {retry_after_seconds} s"
        if retry_after_seconds is None:
            why = "has been stopped by hand, until somebody lets calls through"
        super().__init__(f"{model} {why}", retry_after_seconds=retry_after_seconds, model=model)


class UpstreamError(Unavailable):
    """The vendor gave no usable answer: no connection, a broken stream, an answer that is not its format.
    `refuses_content`: with a 200 it has said that it refuses for reasons of content. `was_asked`: it has said nothing,
    and may be at work still, and bill it."""

    code = "upstream_failed"
    refuses_content = False
    was_asked = False


class UpstreamTimeout(UpstreamError):
    """The vendor did not answer in the time its provider row allows. Where not `was_asked`, it could not even be
    asked."""

    code = "upstream_timeout"
    was_asked = True


class AnswerTooLate(UpstreamTimeout):
    """The answer takes longer than its caller, or its route, allows: the vendor may be in perfect health."""


class AnswerTooLarge(UpstreamError):
    """The answer is larger than any that is passed on: that depends on what was asked, not on the vendor's health."""


class UpstreamRefused(UpstreamError):
    """The vendor answered with an error; its status, headers and body are kept for the caller.
    `retry_after_seconds` is what the vendor says, else 1 where the same call may succeed later, else None.
    `wire` is the wire format of the body where the client speaks it too; None where the call was translated.
    `key_id` is the vendor key it was asked with, None for the environment's."""

    code = "upstream_refused"
    key_id: UUID | None = None

    def __init__(
        self, provider: str, status: int, headers: Mapping[str, str], body: bytes, wire: str | None = None
    ) -> None:
        seconds = _seconds(status, headers)
        super().__init__(f"{provider} answered {status}", retry_after_seconds=seconds, provider=provider)
        self.wire = wire
        self.status = status
        self.headers = dict(headers)
        self.body = body
        self.details["upstream_status"] = status


def _seconds(status: int, headers: Mapping[str, Any]) -> int | None:
    value = str(headers.get("retry-after", ""))
    if value.isascii() and value.isdigit():
        return min(max(int(value), 1), 86_400)
    return 1 if status == 429 or status >= 500 else None
