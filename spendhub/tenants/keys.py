"""API keys: `sh_<prefix>_<secret>`, shown once, kept as a hash, rotated with a grace period, revoked.

Each change is recorded with who made it, and is in force everywhere within two seconds.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from spendhub.errors import Conflict, Invalid
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import ApiKey, Tenant

PERMISSIONS = ("spend", "read", "manage")
MAX_GRACE = timedelta(days=30)
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits


class KeyNotInForce(Conflict):
    """The key is revoked or expired, so that there is nothing left to rotate."""

    code = "key_not_in_force"


def issue_key(
    tenant: Tenant,
    name: str,
    permissions: Collection[str] = ("spend", "read"),
    *,
    attribution: Mapping[str, str] | None = None,
    expires_at: datetime | None = None,
    actor: str = "system",
) -> tuple[ApiKey, str]:
    """A new key and its secret in full, which is shown now and never again.

    Raises Invalid for a permission that is none of `spend`, `read`, `manage`.
    """
    unknown = sorted(set(permissions) - set(PERMISSIONS))
    if unknown:
        raise Invalid(f"there is no permission {unknown[0]!r}; there are {', '.join(PERMISSIONS)}", field="permissions")
    key = ApiKey(
        tenant=tenant,
        name=name,
        attribution=dict(attribution or {}),
        expires_at=expires_at,
        **{f"can_{permission}": permission in permissions for permission in PERMISSIONS},
    )
    with transaction.atomic():
        secret = _give_secret(key)
        record_change(tenant, actor, "issue", key, {}, describe_key(key))
    return key, secret


def rotate_key(key: ApiKey, grace: timedelta, *, actor: str, now: datetime) -> tuple[ApiKey, str]:
    """A successor with the same name, permissions and attribution; the old key works for `grace` more.

    Raises Invalid for a grace period below 0 or above 30 days, KeyNotInForce for a dead key.
    """
    if not timedelta(0) <= grace <= MAX_GRACE:
        raise Invalid(f"the grace period is 0 to {MAX_GRACE.days * 86_400} seconds", field="grace_seconds")
    with transaction.atomic():
        # Locked, so that two rotations at once make one successor and one conflict.
        old = ApiKey.objects.for_tenant(key.tenant_id).select_for_update().get(pk=key.pk)
        if not is_in_force(old, now) or old.replaced_by.exists():
            raise KeyNotInForce("this key is revoked, expired or already rotated")
        before = describe_key(old)
        successor = ApiKey(
            tenant_id=old.tenant_id,
            name=old.name,
            can_spend=old.can_spend,
            can_read=old.can_read,
            can_manage=old.can_manage,
            attribution=old.attribution,
            expires_at=old.expires_at,
            replaces=old,
        )
        secret = _give_secret(successor)
        ends_at = now + grace
        old.expires_at = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
        old.save(update_fields=["expires_at"])
        record_change(old.tenant_id, actor, "rotate", old, before, describe_key(old) | {"successor": successor.prefix})
    return successor, secret


def revoke_key(key: ApiKey, actor: str, now: datetime) -> None:
    """Ends a key for ever. Revoking a revoked key changes nothing."""
    with transaction.atomic():
        held = ApiKey.objects.for_tenant(key.tenant_id).select_for_update().get(pk=key.pk)
        if held.revoked_at is None:
            before = describe_key(held)
            held.revoked_at = now
            held.save(update_fields=["revoked_at"])
            record_change(held.tenant_id, actor, "revoke", held, before, describe_key(held))
    key.revoked_at = held.revoked_at


def is_in_force(key: ApiKey, now: datetime) -> bool:
    """Whether the key opens anything at `now`."""
    return (key.revoked_at is None or key.revoked_at > now) and (key.expires_at is None or key.expires_at > now)


def describe_key(key: ApiKey) -> dict[str, object]:
    """What the record of changes keeps of a key: never its hash."""
    return {
        "name": key.name,
        "permissions": [name for name in PERMISSIONS if getattr(key, f"can_{name}")],
        "attribution": key.attribution,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _give_secret(key: ApiKey) -> str:
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
    secret = f"sh_{prefix}_{secrets.token_urlsafe(32)}"
    key.prefix = prefix
    key.secret_sha256 = hashlib.sha256(secret.encode("ascii")).hexdigest()
    key.save()
    return secret
