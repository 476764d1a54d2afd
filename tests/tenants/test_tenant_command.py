"""manage.py tenant create: the key, alone on the last line, opens the new account."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from spendhub.tenants.models import Tenant
from spendhub.tenants.snapshot import ACCESS

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("tenant", "create", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_key_is_all_of_the_output_and_has_every_permission() -> None:
    out, err = create("Acme Tools", "--timezone", "Europe/Berlin")
    principal = ACCESS.refresh().identify(out.strip(), datetime.now(UTC))
    assert out == out.strip() + "\n"
    assert (principal.tenant_slug, str(principal.timezone)) == ("acme-tools", "Europe/Berlin")
    assert principal.permissions == {"spend", "read", "manage"}
    assert "Acme Tools" in err


def test_a_second_tenant_of_the_same_name_gets_a_slug_of_its_own() -> None:
    for _ in range(3):
        create("Acme")
    create("東京")
    assert sorted(Tenant.objects.values_list("slug", flat=True)) == ["acme", "acme-2", "acme-3", "tenant"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Acme", "--timezone", "Mars/Base"], "timezone: 'Mars/Base' is no time zone; write it like Europe/Berlin"),
        (
            ["Acme", "--timezone", "../etc/passwd"],
            "timezone: '../etc/passwd' is no time zone; write it like Europe/Berlin",
        ),
        (["  "], "name: This field cannot be blank."),
        (["a\nb"], "name: only printable characters, please"),
    ],
)
def test_a_bad_value_is_one_clear_line_and_nothing_is_made(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refused:
        create(*arguments)
    assert str(refused.value) == message
    assert Tenant.objects.count() == 0
