"""From the headers of a request to its principal, for both planes, with a limit on guessing.

A right key always passes and costs no look-up outside this process: a neighbour behind the same
address who guesses badly cannot lock it out. Only wrong keys are counted, per client address;
past the limit they are answered 429 instead of 401. Secrets have 256 random bits, so the limit
spares us the work and the logs of a flood; it is not what keeps guessers out.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
from datetime import datetime

from django.conf import settings
from django.core.cache import cache

from spendhub.errors import Throttled, Unidentified
from spendhub.tenants.last_used import note_used
from spendhub.tenants.snapshot import ACCESS, Principal, UnknownKey

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60


class TooManyFailures(Throttled):
    """Too many wrong API keys came from this address within a minute."""

    code = "too_many_failures"


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key a request carries: `Authorization: Bearer ...` before `x-api-key`; None for neither."""
    if authorization:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    return x_api_key.strip() or None if x_api_key else None


def client_address(remote_address: str | None, forwarded_for: str | None) -> str:
    """The address that failures are counted for: the peer, or, behind SPENDHUB_TRUSTED_PROXIES
    proxies, what the outermost of those wrote into X-Forwarded-For. IPv6 counts by its /64."""
    address = (remote_address or "unknown").strip()
    trusted = getattr(settings, "TRUSTED_PROXIES", 0)
    if trusted and forwarded_for:
        hops = [hop.strip() for hop in forwarded_for.split(",")]
        address = hops[-min(trusted, len(hops))]
    return _counted_as(address)


@functools.lru_cache(maxsize=4096)
def _counted_as(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def identify(key: str | None, address: str, now: datetime) -> Principal:
    """Who presents `key` from `address` (see `client_address`) at `now`.

    Raises Unidentified (no key, or an unknown, expired or revoked one), Forbidden (a suspended
    tenant), or TooManyFailures when `address` has sent too many unknown keys. The failing path
    may wait for the cache; the good one never does.
    """
    if key is None:
        raise Unidentified("send an API key: Authorization: Bearer sh_...")
    try:
        principal = ACCESS.current().identify(key, now)
    except UnknownKey:
        _count_failure(address, now)
        raise
    if principal.key_id is not None:
        note_used(principal.key_id, now)
    return principal


def _count_failure(address: str, now: datetime) -> None:
    limit: int = getattr(settings, "FAILED_AUTHENTICATIONS_PER_MINUTE", 30)
    window, elapsed = divmod(int(now.timestamp()), WINDOW_SECONDS)
    entry = f"failed-authentication:{address}:{window}"
    try:
        cache.add(entry, 0, timeout=2 * WINDOW_SECONDS)
        failures: int | None = cache.incr(entry)
    except ValueError:
        return  # it lapsed between the two calls: the next failure begins anew
    except Exception:  # whatever cache is configured: not counting must not turn a 401 into a 500
        logger.exception("failed authentications are not being counted: the cache does not answer")
        return
    if failures is None:  # django-redis, told to ignore exceptions, has met one and logged it
        return
    if failures > limit:
        raise TooManyFailures(
            f"more than {limit} unknown API keys within a minute from {address}",
            retry_after_seconds=WINDOW_SECONDS - elapsed,
        )
