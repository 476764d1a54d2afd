"""No key, id, filter or admin page of one tenant reaches another's rows.

The walks meet every route of the URL configuration and every table that belongs to tenants, with
a row of acme's in each. A new route or table is met without a change here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from rest_framework.test import APIClient

from spendhub import urls as product
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import ApiKey, Tenant
from spendhub.tenants.views import KeyViewSet
from tests.factories import ApiKeyFactory, UserFactory, acme, globex
from tests.routes import Route, every_route
from tests.worlds import SIGNS, build_world, dump, references_to, tenant_models

pytestmark = pytest.mark.django_db(transaction=True)

# These say the same to everybody, or end the session that walks.
NOT_WALKED = ("/admin/logout/", "/admin/jsi18n/", "/api/schema/", "/api/docs/")


class Leaky(KeyViewSet):
    """The negative control: it forgets whose rows it shows and changes."""

    def visible_rows(self, principal: Any) -> Any:
        return ApiKey.objects.across_tenants()


urlpatterns = [
    *product.urlpatterns,
    path("api/leaky", Leaky.as_view({"get": "list"})),
    path("api/leaky/<int:pk>", Leaky.as_view({"get": "retrieve", "delete": "destroy"})),
]


@pytest.fixture
def world() -> dict[Any, Any]:
    rows = build_world(acme())
    refresh_all()
    return rows


@pytest.fixture
def stranger(world: dict[Any, Any]) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiKeyFactory(tenant=globex()).secret}")
    refresh_all()
    return client


def ids_of(world: dict[Any, Any]) -> list[str]:
    return [str(world[model].pk) for model in tenant_models()]


def addresses(route: Route, world: dict[Any, Any]) -> list[str]:
    """The route's address with each of acme's ids that fits (in the admin: its id for that page's table)."""
    if not route.parameters:
        return [route.template]
    model_admin = getattr(route.callback, "model_admin", None)
    ids = [str(world[model_admin.model].pk)] if model_admin and model_admin.model in world else ids_of(world)
    return [address for value in ids if (address := route.address(value))]


def filters(world: dict[Any, Any]) -> Iterator[str]:
    """Query strings that name acme and its rows."""
    tenant = world[ApiKey].tenant_id
    yield f"tenant={tenant}&tenant_id={tenant}"
    yield f"tenant__id__exact={tenant}"
    yield "&".join(f"{model._meta.model_name}={row.pk}" for model, row in world.items())
    for name in ("budget", "model", "provider", "user", "api_key"):
        row = next((row for model, row in world.items() if model._meta.model_name == name), world[ApiKey])
        yield f"{name}={row.pk}"


def bodies(route: Route, world: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """What a stranger may try to write: nothing, acme's ids wherever a route could take one, and every admin action."""
    yield {}
    model_admin = getattr(route.callback, "model_admin", None)
    if model_admin is not None:
        for action in ("delete_selected", *(model_admin.actions or ())):
            name = action if isinstance(action, str) else action.__name__
            yield {"action": name, "_selected_action": str(world.get(model_admin.model, world[ApiKey]).pk)}
        return
    ids = {model._meta.model_name: world[model].pk for model in world}
    ids = {name: pk if isinstance(pk, int) else str(pk) for name, pk in ids.items()}
    yield {"name": "globexs-own"}
    yield {"name": "globexs-own", "tenant": world[ApiKey].tenant_id}
    yield {name: ids[name] for name in ("budget", "model", "provider")}
    yield {
        "name": "globexs-own",
        "model": ids["model"],
        "provider": ids["provider"],
        "valid_from": "2026-01-01T00:00:00Z",
    }
    yield {"provider": ids["provider"], "name": "globexs-own"}
    yield {"actual_cost": "0.01"}
    yield {"span_id": ids["costspan"], "thumbs": "down"}
    yield {"scopeType": "api_key", "scopeKey": str(world[ApiKey].prefix), "reservationId": ids["reservation"]}


def attempts(route: Route, world: dict[Any, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, address, body) of each request that the walk makes to a route."""
    for address in addresses(route, world):
        for method in route.methods:
            if method not in ("get", "delete"):
                yield from ((method, address, body) for body in bodies(route, world))
                continue
            yield method, address, {}
            if method == "get" and not route.parameters:
                # A page of the admin is slow, and Django lets it filter by few fields.
                tried = 2 if address.startswith("/admin/") else None
                yield from ((method, f"{address}?{query}", {}) for query in islice(filters(world), tried))


def walk(client: Client, routes: Iterable[Route], world: dict[Any, Any]) -> list[str]:
    """Every route, method, id and body: where acme showed or (below /api/) its id was known, and what broke."""
    leaks = []
    for route in routes:
        for method, address, body in attempts(route, world):
            answer = send(client, method, address, body)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
            is_known = bool(route.parameters) and address.startswith("/api/") and answer.status_code < 300
            if is_known or any(sign in content.decode(errors="replace") for sign in SIGNS):
                leaks.append(f"{method} {route}")
            if answer.status_code >= 500:
                leaks.append(f"{method} {address} {json.dumps(body)}: {answer.status_code}")
    return sorted(set(leaks))


def send(client: Client, method: str, address: str, body: dict[str, Any]) -> Any:
    if address.startswith("/api/"):
        return client.generic(method.upper(), address, json.dumps(body), content_type="application/json")
    return client.get(address) if method == "get" else client.post(address, body | {"post": "yes"})


def api_routes(urlconf: str | None = None) -> list[Route]:
    return [route for route in every_route("/api/", urlconf) if route.template not in NOT_WALKED]


def test_no_api_route_shows_or_changes_anything_of_another_tenant(stranger: APIClient, world: dict[Any, Any]) -> None:
    tenant = Tenant.objects.get(slug="acme")
    before = dump(tenant)
    assert walk(stranger, api_routes(), world) == []
    assert dump(tenant) == before
    assert references_to(tenant) == []


def test_the_walk_sees_what_acme_itself_may_see(world: dict[Any, Any]) -> None:
    """Negative control: with acme's key every list that has rows of its own shows them."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiKeyFactory(tenant=acme()).secret}")
    refresh_all()
    # Looking alone: a model that is deleted takes its prices along.
    seen = walk(client, [replace(route, methods=("get",)) for route in api_routes() if "get" in route.methods], world)
    lists = {f"get {name}" for name in ("/api/v1/keys", "/api/v1/models", "/api/v1/providers", "/api/v1/prices")}
    assert lists <= set(seen)


@pytest.mark.urls("tests.test_isolation")
def test_the_walk_notices_a_route_that_forgets_the_tenant(stranger: APIClient, world: dict[Any, Any]) -> None:
    """Negative control: a view set that shows every tenant's keys, and lets anybody revoke them."""
    tenant = Tenant.objects.get(slug="acme")
    before = dump(tenant)
    leaky = [route for route in api_routes("tests.test_isolation") if "leaky" in route.template]
    assert walk(stranger, leaky, world) == ["delete /api/leaky/{}", "get /api/leaky", "get /api/leaky/{}"]
    assert dump(tenant) != before


def test_no_route_answers_without_a_key_but_the_description(world: dict[Any, Any]) -> None:
    nobody = APIClient(raise_request_exception=False)
    answered = {
        f"{method} {route}: {answer.status_code}"
        for route in api_routes()
        for address in addresses(route, world)[:2]
        for method in route.methods
        if (answer := send(nobody, method, address, {})).status_code != 401 and answer.status_code != 404
    }
    assert answered == set()


def admin_routes() -> list[Route]:
    return [route for route in every_route("/admin/") if route.template not in NOT_WALKED]


@pytest.mark.once
@pytest.mark.timeout(400)  # it walks over every page
def test_no_admin_page_shows_or_changes_anything_of_another_tenant(world: dict[Any, Any]) -> None:
    tenant = Tenant.objects.get(slug="acme")
    globex()
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory(username="gil"))
    before = dump(tenant)
    assert walk(client, admin_routes(), world) == []
    assert dump(tenant) == before
    assert references_to(tenant) == []


def test_the_admin_walk_sees_what_acmes_owner_may_see(world: dict[Any, Any]) -> None:
    """Negative control."""
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory(username="ada"))
    seen = walk(client, [route for route in admin_routes() if "/budgets/budget/" in route.template], world)
    assert {"get /admin/budgets/budget/", "get /admin/budgets/budget/{}/change/"} <= set(seen)
