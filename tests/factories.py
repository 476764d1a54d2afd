"""The people of our tests: acme, its ada and ben, and globex, who must never see a row of acme's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import factory
from django.contrib.auth import get_user_model
from factory.django import DjangoModelFactory

from routing.models import Model, Price, Provider
from spendhub.tenants.keys import PERMISSIONS, issue_key
from spendhub.tenants.models import ApiKey, Membership, Tenant


class TenantFactory(DjangoModelFactory[Tenant]):
    class Meta:
        model = Tenant
        django_get_or_create = ("slug",)

    name = factory.LazyAttribute(lambda tenant: tenant.slug.title())
    slug = factory.Sequence(lambda number: f"tenant-{number}")


class UserFactory(DjangoModelFactory[Any]):
    class Meta:
        model = get_user_model()
        django_get_or_create = ("username",)
        skip_postgeneration_save = True

    username = factory.Sequence(lambda number: f"user-{number}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    is_staff = True


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    tenant = factory.SubFactory(TenantFactory, slug="acme")
    user = factory.SubFactory(UserFactory, username="ada")
    role = Membership.Role.OWNER


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A key as `issue_key` makes it; its secret in full is on `key.secret`, in tests only."""

    class Meta:
        model = ApiKey

    tenant = factory.SubFactory(TenantFactory, slug="acme")
    name = "Support bot"
    permissions = PERMISSIONS

    @classmethod
    def _create(cls, model_class: type[ApiKey], *args: Any, **values: Any) -> ApiKey:
        tenant, name, permissions = values.pop("tenant"), values.pop("name"), values.pop("permissions")
        key, secret = issue_key(tenant, name, permissions, **values)
        key.secret = secret  # type: ignore[attr-defined]  # tests carry the secret beside its key
        return key


class CatalogFactory(DjangoModelFactory[Any]):
    """Makes rows that no tenant owns."""

    class Meta:
        abstract = True

    @classmethod
    def _get_manager(cls, model_class: Any) -> Any:
        return model_class.unscoped


class ProviderFactory(CatalogFactory):
    """A provider that the whole installation shares."""

    class Meta:
        model = Provider
        django_get_or_create = ("tenant", "name")

    tenant = None
    name = "vendor"


class ModelFactory(CatalogFactory):
    """A chat model that everybody sees; without a price until PriceFactory gives it one."""

    class Meta:
        model = Model
        django_get_or_create = ("tenant", "name")

    tenant = None
    provider = factory.SubFactory(ProviderFactory)
    name = "small"


class PriceFactory(CatalogFactory):
    """A price in force since 2020: 1 USD per million tokens in, 4 USD out."""

    class Meta:
        model = Price

    tenant = None
    model = factory.SubFactory(ModelFactory)
    valid_from = datetime(2020, 1, 1, tzinfo=UTC)
    valid_until: datetime | None = None
    stated_until = factory.SelfAttribute("valid_until")
    input_nano_usd_per_mtok = 10**9
    output_nano_usd_per_mtok = 4 * 10**9


def acme() -> Tenant:
    """The tenant of most tests, with ada (owner) and ben (viewer)."""
    return _with_people("acme", ada=Membership.Role.OWNER, ben=Membership.Role.VIEWER)


def globex() -> Tenant:
    """The stranger, with gil (owner), who must never see or change a row of acme's."""
    return _with_people("globex", gil=Membership.Role.OWNER)


def _with_people(slug: str, **roles: str) -> Tenant:
    tenant = TenantFactory(slug=slug)
    for username, role in roles.items():
        user = UserFactory(username=username)
        if not Membership.objects.for_tenant(tenant).filter(user=user).exists():
            MembershipFactory(tenant=tenant, user=user, role=role)
    return tenant
