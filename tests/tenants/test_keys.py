"""API keys: issued once, kept as a hash, rotated with a grace period, revoked for good."""

from datetime import UTC, datetime, timedelta

import pytest

from spendhub.errors import Forbidden, Invalid
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.keys import KeyNotInForce, issue_key, revoke_key, rotate_key
from spendhub.tenants.models import ApiKey, Change, Tenant
from spendhub.tenants.snapshot import ACCESS, ExpiredKey, Principal, RevokedKey, UnknownKey
from tests.factories import ApiKeyFactory, TenantFactory, acme

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def identify(secret: str, now: datetime = NOW) -> Principal:
    return ACCESS.refresh().identify(secret, now)


def test_a_key_opens_its_own_tenant_with_its_permissions_and_attribution() -> None:
    tenant = acme()
    key, secret = issue_key(tenant, "Support bot", ["spend"], attribution={"agent": "support"})
    principal = identify(secret)
    assert (principal.tenant_id, principal.tenant_slug, principal.key_id) == (tenant.pk, "acme", key.pk)
    assert principal.permissions == {"spend"}
    assert principal.attribution == Attribution(agent="support")
    assert principal.actor == f"key:{key.prefix}"


def test_a_secret_looks_as_documented_and_is_stored_nowhere() -> None:
    key, secret = issue_key(acme(), "Support bot")
    assert secret.startswith(f"sh_{key.prefix}_") and len(secret) == 55 and secret.isascii()
    row = ApiKey.objects.across_tenants().values().get(pk=key.pk)
    assert secret not in str(row) and secret[12:] not in str(row)
    assert secret[12:] not in str(list(Change.objects.across_tenants().values()))


@pytest.mark.parametrize("position", [0, 3, 11, 12, 54])
def test_a_key_with_one_character_changed_is_unknown(position: int) -> None:
    secret = ApiKeyFactory().secret
    wrong = secret[:position] + ("x" if secret[position] != "x" else "y") + secret[position + 1 :]
    with pytest.raises(UnknownKey):
        identify(wrong)


@pytest.mark.parametrize("rubbish", ["", "sh_", "x" * 55, "é" * 55, "\ud800" * 55, "sh_" * 1000])
def test_rubbish_is_an_unknown_key(rubbish: str) -> None:
    with pytest.raises(UnknownKey):
        identify(rubbish)


def test_a_key_ends_at_the_moment_it_expires() -> None:
    secret = ApiKeyFactory(expires_at=NOW).secret
    assert identify(secret, NOW - timedelta(microseconds=1)).tenant_slug == "acme"
    with pytest.raises(ExpiredKey):
        identify(secret, NOW)


def test_a_revoked_key_opens_nothing_and_the_change_is_recorded() -> None:
    key = ApiKeyFactory()
    revoke_key(key, "user:ada", NOW)
    with pytest.raises(RevokedKey):
        identify(key.secret)
    change = Change.objects.for_tenant(key.tenant).filter(action="revoke").get()
    assert (change.actor, change.subject_id) == ("user:ada", str(key.pk))
    assert change.before == {"revoked_at": None}
    revoke_key(key, "user:ada", NOW + timedelta(days=1))
    assert ApiKey.objects.for_tenant(key.tenant).get(pk=key.pk).revoked_at == NOW


def test_the_keys_of_a_suspended_tenant_are_forbidden() -> None:
    key = ApiKeyFactory()
    key.tenant.status = Tenant.Status.SUSPENDED
    key.tenant.save()
    with pytest.raises(Forbidden):
        identify(key.secret)


def test_after_a_rotation_both_keys_work_until_the_grace_period_ends() -> None:
    old = ApiKeyFactory(permissions=["spend"], attribution={"agent": "support"})
    new, secret = rotate_key(old, timedelta(hours=1), actor="user:ada", now=NOW)
    assert new.replaces_id == old.pk
    assert identify(secret).permissions == {"spend"}
    assert identify(secret).attribution == Attribution(agent="support")
    assert identify(old.secret, NOW + timedelta(minutes=59)).key_id == old.pk
    with pytest.raises(ExpiredKey):
        identify(old.secret, NOW + timedelta(hours=1))


def test_a_rotation_never_lengthens_the_life_of_the_old_key() -> None:
    old = ApiKeyFactory(expires_at=NOW + timedelta(minutes=5))
    rotate_key(old, timedelta(hours=1), actor="user:ada", now=NOW)
    assert ApiKey.objects.for_tenant(old.tenant).get(pk=old.pk).expires_at == NOW + timedelta(minutes=5)


def test_a_key_is_rotated_once_and_a_dead_one_never() -> None:
    key = ApiKeyFactory()
    rotate_key(key, timedelta(hours=1), actor="user:ada", now=NOW)
    with pytest.raises(KeyNotInForce):
        rotate_key(key, timedelta(hours=1), actor="user:ada", now=NOW)
    dead = ApiKeyFactory(expires_at=NOW)
    with pytest.raises(KeyNotInForce):
        rotate_key(dead, timedelta(0), actor="user:ada", now=NOW)
    assert ApiKey.objects.for_tenant(key.tenant).count() == 3


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=31)])
def test_a_grace_period_out_of_range_is_refused(grace: timedelta) -> None:
    key = ApiKeyFactory()
    with pytest.raises(Invalid):
        rotate_key(key, grace, actor="user:ada", now=NOW)
    assert ApiKey.objects.for_tenant(key.tenant).count() == 1


def test_an_unknown_permission_is_refused_and_no_key_is_made() -> None:
    tenant = TenantFactory(slug="acme")
    with pytest.raises(Invalid):
        issue_key(tenant, "Support bot", ["spend", "everything"])
    assert ApiKey.objects.for_tenant(tenant).count() == 0


def test_a_change_of_a_key_moves_the_snapshot() -> None:
    key = ApiKeyFactory()
    held = ACCESS.refresh()
    assert ACCESS.refresh() is held
    revoke_key(key, "user:ada", NOW)
    assert ACCESS.refresh() is not held
