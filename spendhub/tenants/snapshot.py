"""The access snapshot: which key opens which tenant, read by both planes without touching the database."""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from spendhub.errors import Forbidden, Unidentified
from spendhub.snapshots import Snapshot
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import ACCESS_SNAPSHOT, ApiKey, Membership, Tenant

KEY_LENGTH = len("sh_") + 8 + len("_") + 43
_NOBODYS_DIGEST = hashlib.sha256(b"nobody").digest()


class UnknownKey(Unidentified):
    """The API key is not one of ours, or not in one piece."""

    code = "unknown_key"


class ExpiredKey(Unidentified):
    """The API key was good until `expired_at`."""

    code = "key_expired"


class RevokedKey(Unidentified):
    """The API key was revoked at `revoked_at`."""

    code = "key_revoked"


class TenantSuspended(Forbidden):
    """The account is suspended: all its keys and people are refused."""

    code = "tenant_suspended"


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """A tenant as the snapshot holds it. `zone` cuts its days, weeks and months."""

    id: int
    slug: str
    name: str
    zone: ZoneInfo
    currency: str
    unpriced_models: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a key of a tenant, or (then `key_id` is None) a person signed in to the browser."""

    tenant: TenantFacts
    tenant_id: int
    key_id: int | None
    key_prefix: str
    can_spend: bool
    can_read: bool
    can_manage: bool
    attribution: Attribution
    actor: str
    """`key:PREFIX` or `user:NAME`, as the record of changes writes it."""

    @property
    def tenant_slug(self) -> str:
        return self.tenant.slug

    @property
    def timezone(self) -> ZoneInfo:
        return self.tenant.zone

    @property
    def permissions(self) -> frozenset[str]:
        """Of `spend`, `read`, `manage`: those it has."""
        held = {"spend": self.can_spend, "read": self.can_read, "manage": self.can_manage}
        return frozenset(name for name, has_it in held.items() if has_it)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key's hash and limits in time, beside the principal it stands for."""

    digest: bytes
    expires_at: datetime | None
    revoked_at: datetime | None
    principal: Principal


@dataclass(frozen=True, slots=True)
class Access:
    """Everything needed to say who is calling. Immutable: a change makes a new one."""

    tenants: Mapping[int, TenantFacts]
    _keys: Mapping[str, KnownKey] = field(repr=False)
    _roles: Mapping[int, Mapping[int, str]] = field(repr=False)

    def identify(self, presented_key: str, now: datetime) -> Principal:
        """The principal of `presented_key` at `now`.

        An unknown prefix costs the same comparison as a wrong secret, so that time tells nothing.
        Raises UnknownKey, ExpiredKey or RevokedKey (all Unidentified), or TenantSuspended.
        """
        if len(presented_key) != KEY_LENGTH or not presented_key.isascii():
            raise UnknownKey("this API key is not known here")
        digest = hashlib.sha256(presented_key.encode("ascii")).digest()
        known = self._keys.get(presented_key[3:11])
        is_right = hmac.compare_digest(digest, _NOBODYS_DIGEST if known is None else known.digest)
        if known is None or not is_right:
            raise UnknownKey("this API key is not known here")
        if known.revoked_at is not None and known.revoked_at <= now:
            raise RevokedKey("this API key was revoked", revoked_at=known.revoked_at.isoformat())
        if known.expires_at is not None and known.expires_at <= now:
            raise ExpiredKey("this API key has expired", expired_at=known.expires_at.isoformat())
        return _let_in(known.principal)

    def principal_of_member(self, user_id: int, username: str, tenant_slug: str | None = None) -> Principal:
        """A person in one of their tenants: the one of `tenant_slug`, else the one they joined first.

        Raises Forbidden when they are no member (of it).
        """
        for tenant_id, role in self._roles.get(user_id, {}).items():
            tenant = self.tenants[tenant_id]
            if tenant_slug is None or tenant.slug == tenant_slug:
                manages = role in (Membership.Role.OWNER, Membership.Role.ADMIN)
                return _let_in(
                    Principal(
                        tenant=tenant,
                        tenant_id=tenant_id,
                        key_id=None,
                        key_prefix="",
                        can_spend=manages,
                        can_read=True,
                        can_manage=manages,
                        attribution=Attribution(),
                        actor=f"user:{username}",
                    )
                )
        raise Forbidden("you are a member of no account here" if tenant_slug is None else "you are no member of it")


def _let_in(principal: Principal) -> Principal:
    if not principal.tenant.is_active:
        raise TenantSuspended("this account is suspended")
    return principal


def build() -> Access:
    """Reads all tenants, keys and memberships: three queries."""
    tenants = {
        tenant.pk: TenantFacts(
            id=tenant.pk,
            slug=tenant.slug,
            name=tenant.name,
            zone=ZoneInfo(tenant.timezone),
            currency=tenant.currency,
            unpriced_models=tenant.unpriced_models,
            is_active=tenant.status == Tenant.Status.ACTIVE,
        )
        for tenant in Tenant.objects.all()
    }
    keys = {
        key.prefix: _known_key(key, tenants[key.tenant_id])
        for key in ApiKey.objects.across_tenants().order_by("pk").iterator()
        if key.tenant_id in tenants
    }
    roles: defaultdict[int, dict[int, str]] = defaultdict(dict)
    memberships = Membership.objects.across_tenants().order_by("pk")
    for user_id, tenant_id, role in memberships.values_list("user_id", "tenant_id", "role"):
        if tenant_id in tenants:
            roles[user_id][tenant_id] = role
    return Access(MappingProxyType(tenants), MappingProxyType(keys), MappingProxyType(dict(roles)))


def _known_key(key: ApiKey, tenant: TenantFacts) -> KnownKey:
    return KnownKey(
        digest=bytes.fromhex(key.secret_sha256),
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        principal=Principal(
            tenant=tenant,
            tenant_id=tenant.id,
            key_id=key.pk,
            key_prefix=key.prefix,
            can_spend=key.can_spend,
            can_read=key.can_read,
            can_manage=key.can_manage,
            attribution=Attribution.parse(key.attribution),
            actor=f"key:{key.prefix}",
        ),
    )


ACCESS: Snapshot[Access] = Snapshot(ACCESS_SNAPSHOT, build)
