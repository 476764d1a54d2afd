"""manage.py tenant create NAME [--timezone TZ]: a new account and its first API key."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.text import slugify

from budgets.definitions import apply_settings_budgets
from spendhub.tenants.keys import PERMISSIONS, issue_key
from spendhub.tenants.models import Tenant


class Command(BaseCommand):
    help = "Creates a tenant; its first API key is alone on the last line of the output."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="a new tenant and its first API key, with all permissions")
        create.add_argument("name", metavar="NAME")
        create.add_argument("--timezone", metavar="TZ", default="UTC", help="e.g. Europe/Berlin; UTC if not given")

    def handle(self, *args: Any, name: str, timezone: str, **options: Any) -> None:
        tenant, secret = create_tenant(name, timezone)
        self.stderr.write(f"Created {tenant.name!r} (slug {tenant.slug}, time zone {tenant.timezone}).")
        self.stderr.write("Its first API key, with all permissions, is shown only now:")
        self.stdout.write(secret)


def create_tenant(name: str, timezone: str) -> tuple[Tenant, str]:
    """The new tenant and its first key in full. Raises CommandError with one line for a bad value."""
    name = name.strip()
    tenant = Tenant(name=name, slug="x", timezone=timezone)
    try:
        tenant.full_clean(exclude=["slug"])
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        raise CommandError(f"{field}: {problems[0]}") from None
    if not name.isprintable():
        raise CommandError("name: only printable characters, please")
    with transaction.atomic():
        tenant.slug = free_slug(name)
        tenant.save()
        _, secret = issue_key(tenant, "First key", PERMISSIONS)
    # Its first call already falls under the budgets of the settings; the worker makes those of accounts made elsewhere.
    apply_settings_budgets()
    return tenant, secret


def free_slug(name: str) -> str:
    """A slug for `name` that no tenant has: acme, then acme-2, acme-3, ..."""
    stem = slugify(name)[:50] or "tenant"
    taken = set(Tenant.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    number, slug = 1, stem
    while slug in taken:
        number += 1
        slug = f"{stem}-{number}"
    return slug
