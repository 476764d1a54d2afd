"""Who is calling: the key a request carries, when it was last used, and what guessing earns."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from spendhub.errors import Unidentified
from spendhub.tenants.identification import TooManyFailures, client_address, identify, presented_key
from spendhub.tenants.last_used import flush_last_used, forget_last_used
from spendhub.tenants.models import ApiKey
from spendhub.tenants.snapshot import ACCESS, UnknownKey
from tests.factories import ApiKeyFactory

NOW = datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)
WRONG = "sh_00000000_" + "0" * 43


@pytest.fixture(autouse=True)
def _clean_slate() -> None:
    cache.clear()
    forget_last_used()
    ACCESS.forget()


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        ("Bearer sh_1", None, "sh_1"),
        ("bearer  sh_1 ", None, "sh_1"),
        (None, " sh_2 ", "sh_2"),
        ("Bearer sh_1", "sh_2", "sh_1"),
        ("Basic YWRhOg==", "sh_2", "sh_2"),
        ("Basic YWRhOg==", None, None),
        ("Bearer ", None, None),
        ("Bearer", "", None),
        (None, None, None),
    ],
)
def test_the_key_is_read_from_either_header(authorization: str | None, x_api_key: str | None, key: str | None) -> None:
    assert presented_key(authorization, x_api_key) == key


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "address"),
    [
        (0, "203.0.113.9", "10.0.0.1"),
        (1, None, "10.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "203.0.113.9", "203.0.113.9"),
        (1, "<script>", "unknown"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(settings, trusted, forwarded_for, address) -> None:  # type: ignore[no-untyped-def]  # parametrised
    settings.TRUSTED_PROXIES = trusted
    assert client_address("10.0.0.1", forwarded_for) == address


def test_no_key_is_unidentified_and_is_no_guess(settings) -> None:  # type: ignore[no-untyped-def]  # pytest-django's fixture
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 0
    with pytest.raises(Unidentified):
        identify(None, "192.0.2.1", NOW)


@pytest.mark.django_db
def test_guessing_earns_429_until_the_minute_ends_and_harms_nobody_else(settings) -> None:  # type: ignore[no-untyped-def]  # pytest-django's fixture
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 3
    key = ApiKeyFactory()
    for _ in range(3):
        with pytest.raises(UnknownKey):
            identify(WRONG, "192.0.2.1", NOW)
    with pytest.raises(TooManyFailures) as stopped:
        identify(WRONG, "192.0.2.1", NOW)
    assert stopped.value.retry_after_seconds == 50
    with pytest.raises(UnknownKey):
        identify(WRONG, "192.0.2.2", NOW)
    assert identify(key.secret, "192.0.2.2", NOW).key_id == key.pk
    assert identify(key.secret, "192.0.2.1", NOW).key_id == key.pk
    with pytest.raises(UnknownKey):
        identify(WRONG, "192.0.2.1", NOW + timedelta(seconds=50))


@pytest.mark.django_db
def test_a_cache_that_does_not_answer_leaves_a_wrong_key_wrong(monkeypatch, caplog) -> None:  # type: ignore[no-untyped-def]  # fixtures
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no cache here")

    monkeypatch.setattr(cache, "add", fail)
    with pytest.raises(UnknownKey):
        identify(WRONG, "192.0.2.1", NOW)
    assert "not being counted" in caplog.text


@pytest.mark.django_db
def test_the_last_use_of_a_key_is_written_at_most_once_a_minute() -> None:
    key = ApiKeyFactory()

    def last_used_at() -> datetime | None:
        return ApiKey.objects.for_tenant(key.tenant).get(pk=key.pk).last_used_at

    identify(key.secret, "192.0.2.1", NOW)
    assert last_used_at() is None
    version = ACCESS.version
    assert flush_last_used(NOW) == 1
    assert last_used_at() == NOW
    identify(key.secret, "192.0.2.1", NOW + timedelta(seconds=30))
    assert flush_last_used(NOW + timedelta(seconds=59)) == 0
    assert flush_last_used(NOW + timedelta(seconds=60)) == 1
    assert last_used_at() == NOW + timedelta(seconds=30)
    ACCESS.refresh()
    assert ACCESS.version == version


@pytest.mark.django_db
def test_an_earlier_use_never_overwrites_a_later_one() -> None:
    key = ApiKeyFactory()
    ApiKey.objects.for_tenant(key.tenant).filter(pk=key.pk).update(last_used_at=NOW)
    identify(key.secret, "192.0.2.1", NOW - timedelta(seconds=5))
    flush_last_used(NOW)
    assert ApiKey.objects.for_tenant(key.tenant).get(pk=key.pk).last_used_at == NOW
