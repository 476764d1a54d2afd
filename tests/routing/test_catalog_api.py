"""The catalog over the API: shared rows are seen by all and edited by none, own rows by their tenant alone."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routing.models import Model, Price, Provider
from routing.models.provider import OWN_DIALECTS
from routing.snapshot import CATALOG
from spendhub.money import parse_usd
from spendhub.tenants.models import Change, Tenant
from tests.factories import ApiKeyFactory, TenantFactory

pytestmark = pytest.mark.django_db


class Caller:
    """Someone with a key."""

    def __init__(self, tenant: Tenant, **key: Any) -> None:
        self.tenant = tenant
        self.secret = ApiKeyFactory(tenant=tenant, **key).secret
        self.client = Client()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        given = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
        headers = {"authorization": f"Bearer {self.secret}"}
        answer = getattr(self.client, method)(f"/api/v1/{path}", headers=headers, **given)
        return answer.status_code, answer.json() if answer.content else None

    def names(self, path: str) -> list[str]:
        status, page = self.call("get", path)
        assert status == 200, page
        return [row.get("name") or row["model"] for row in page["results"]]


@pytest.fixture
def acme() -> Caller:
    return Caller(TenantFactory(slug="acme"))


@pytest.fixture
def globex() -> Caller:
    return Caller(TenantFactory(slug="globex"))


@pytest.fixture
def vendor() -> Provider:
    return Provider.objects.create(tenant=None, name="vendor", base_url="https://vendor.example/v1")


@pytest.fixture
def shared(vendor: Provider) -> Model:
    model = Model.objects.create(
        tenant=None, provider=vendor, name="m", capabilities=["tools", "vision"], aliases=["em"], context_tokens=1000
    )
    rate = parse_usd("2")
    Price.objects.create(
        tenant=None, model=model, valid_from=timezone.now() - timedelta(days=9),
        input_nano_usd_per_mtok=rate, output_nano_usd_per_mtok=5 * rate,
    )  # fmt: skip
    return model


def test_shared_rows_are_seen_by_all_with_their_price(acme: Caller, globex: Caller, shared: Model) -> None:
    for caller in (acme, globex):
        status, page = caller.call("get", "models")
        assert status == 200
        (row,) = page["results"]
        assert row["price"] == {
            "input": "2.00", "output": "10.00", "cache_read": None, "cache_write": None, "cache_write_1h": None,
            "reasoning": None, "web_search": None,
        }  # fmt: skip
        assert (row["name"], row["provider"], row["aliases"], row["is_shared"]) == ("m", "vendor", ["em"], True)
        assert caller.names("providers") == ["vendor"]
        assert caller.names("prices") == ["m"]


@pytest.mark.parametrize("path", ["providers", "models", "prices"])
@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_shared_rows_are_changed_by_none(acme: Caller, shared: Model, path: str, method: str) -> None:
    row = {"providers": shared.provider, "models": shared, "prices": shared.prices.get()}[path]
    status, answer = acme.call(method, f"{path}/{row.pk}", {})
    assert (status, answer["error"]["code"]) == (403, "shared_row")
    row.refresh_from_db()
    assert not Change.objects.for_tenant(acme.tenant).exclude(subject_type="tenants.apikey").exists()


def test_a_tenants_own_rows_are_made_seen_changed_and_deleted_by_it_alone(
    acme: Caller, globex: Caller, shared: Model
) -> None:
    status, provider = acme.call("post", "providers", {"name": "own", "base_url": "https://llm.acme.example/v1"})
    assert (status, provider["is_shared"], provider["dialect"]) == (201, False, "openai")
    status, model = acme.call("post", "models", {"name": "m", "provider": "own", "capabilities": ["code"]})
    assert (status, model["price"]) == (201, None)
    status, price = acme.call("post", "prices", {"model": "m", "input": "1.5", "output": 3})
    assert (status, price["input"], price["output"], price["is_custom"]) == (201, "1.50", "3.00", True)
    status, model = acme.call("get", f"models/{model['id']}")
    assert model["price"]["input"] == "1.50"
    facts = CATALOG.refresh().resolve(acme.tenant.pk, "m")
    assert facts is not None and facts.provider.name == "own"
    assert globex.names("models") == ["m"] and globex.names("providers") == ["vendor"]
    for path in (f"providers/{provider['id']}", f"models/{model['id']}", f"prices/{price['id']}"):
        assert globex.call("get", path)[0] == 404
        assert globex.call("patch", path, {})[0] == 404
        assert globex.call("delete", path)[0] == 404
    assert acme.call("patch", f"models/{model['id']}", {"is_enabled": False})[1]["is_enabled"] is False
    assert acme.call("delete", f"providers/{provider['id']}")[0] == 409
    changes = Change.objects.for_tenant(acme.tenant).exclude(subject_type="tenants.apikey")
    assert [change.action for change in changes.order_by("pk")] == ["create", "create", "create", "update"]


def test_a_provider_of_ones_own_says_how_its_key_is_sent_and_whether_it_speaks_responses(acme: Caller) -> None:
    azure = {"name": "azure", "base_url": "https://acme.openai.azure.com/openai/v1", "auth_header": "api-key"}
    _, made = acme.call("post", "providers", azure | {"has_responses": True})
    assert (made["auth_header"], made["has_responses"]) == ("api-key", True)
    _, usual = acme.call("post", "providers", {"name": "own", "base_url": "https://llm.acme.example/v1"})
    assert (usual["auth_header"], usual["has_responses"]) == ("authorization", False)


def test_a_shared_model_can_have_a_price_of_ones_own(acme: Caller, globex: Caller, shared: Model) -> None:
    assert acme.call("post", "prices", {"model": "m", "input": "1", "output": "1"})[0] == 201
    assert acme.call("get", f"models/{shared.pk}")[1]["price"]["input"] == "1.00"
    assert globex.call("get", f"models/{shared.pk}")[1]["price"]["input"] == "2.00"
    assert globex.names("prices?shared=false") == []


def test_a_price_in_another_currency_is_refused(acme: Caller, shared: Model) -> None:
    sent = {"model": "m", "input": "1", "output": "1"}
    for currency in ("EUR", "usd", None, 1):
        status, answer = acme.call("post", "prices", sent | {"currency": currency})
        assert (status, list(answer["error"]["details"]["fields"])) == (400, ["currency"])
    assert acme.names("prices?shared=false") == []
    status, price = acme.call("post", "prices", sent | {"currency": "USD"})
    assert (status, price["currency"]) == (201, "USD")


def test_a_model_takes_no_price_that_would_change_nothing(acme: Caller, shared: Model) -> None:
    told = {"price": ["is shown here and set at prices: leave it out, and POST it there"]}
    for price in ({"input": "1", "output": "1"}, "1", 1):
        status, answer = acme.call("post", "models", {"name": "own", "provider": "vendor", "price": price})
        assert (status, answer["error"]["details"]["fields"]) == (400, told)
    assert acme.names("models?shared=false") == []
    _, own = acme.call("post", "models", {"name": "own", "provider": "vendor", "price": None})
    assert acme.call("post", "prices", {"model": "own", "input": "1", "output": "1"})[0] == 201
    _, read = acme.call("get", f"models/{own['id']}")
    status, answer = acme.call("patch", f"models/{own['id']}", {"price": read["price"] | {"input": "2.00"}})
    assert (status, answer["error"]["details"]["fields"]) == (400, told)
    assert acme.call("put", f"models/{own['id']}", read | {"quality": "premium"})[0] == 200  # as it was read
    status, answer = acme.call("put", f"models/{own['id']}", read | {"price": {"input": "1", "output": "1"}})
    assert (status, answer["error"]["details"]["fields"]) == (400, told)


def test_a_model_that_was_read_before_a_new_price_began_may_be_sent_back(acme: Caller, shared: Model) -> None:
    _, own = acme.call("post", "models", {"name": "own", "provider": "vendor"})
    _, unpriced = acme.call("get", f"models/{own['id']}")
    assert acme.call("post", "prices", {"model": "own", "input": "1", "output": "1"})[0] == 201
    _, read = acme.call("get", f"models/{own['id']}")
    assert acme.call("post", "prices", {"model": "own", "input": "3", "output": "3"})[0] == 201
    for body in (unpriced, read):
        status, answer = acme.call("put", f"models/{own['id']}", body | {"quality": "premium"})
        assert (status, answer["quality"], answer["price"]["input"]) == (200, "premium", "3.00")


def test_a_price_that_is_edited_while_a_later_one_is_set_forgets_no_end_of_its_own(acme: Caller, shared: Model) -> None:
    first = {"model": "m", "input": "1", "output": "1", "valid_until": "2126-05-01T00:00:00Z"}
    _, first = acme.call("post", "prices", first)
    _, later = acme.call(
        "post", "prices", {"model": "m", "input": "2", "output": "2", "valid_from": "2126-03-01T00:00Z"}
    )
    _, read = acme.call("get", f"prices/{first['id']}")
    assert read["valid_until"] == "2126-03-01T00:00:00Z"
    _, edited = acme.call("patch", f"prices/{first['id']}", {"input": "3", "valid_until": read["valid_until"]})
    _, edited = acme.call("patch", f"prices/{edited['id']}", {"input": "4"})
    assert acme.call("delete", f"prices/{later['id']}")[0] == 204
    _, read = acme.call("get", f"prices/{edited['id']}")
    assert (read["input"], read["valid_until"]) == ("4.00", "2126-05-01T00:00:00Z")


def test_an_edited_price_is_a_new_one_and_the_old_one_ends(acme: Caller, shared: Model) -> None:
    _, first = acme.call("post", "prices", {"model": "m", "input": "1", "output": "1"})
    status, second = acme.call("patch", f"prices/{first['id']}", {"input": "3"})
    assert (status, second["input"], second["output"]) == (200, "3.00", "1.00")
    assert second["id"] != first["id"]
    _, ended = acme.call("get", f"prices/{first['id']}")
    assert (ended["input"], ended["valid_until"]) == ("1.00", second["valid_from"])
    assert acme.call("delete", f"prices/{second['id']}")[0] == 204
    assert acme.names("prices?current=true&shared=false") == []
    assert len(acme.names("prices?current=false")) == 2


def test_a_price_taken_back_before_it_begins_lets_the_one_before_it_hold_on(acme: Caller, shared: Model) -> None:
    _, first = acme.call("post", "prices", {"model": "m", "input": "1", "output": "1"})
    later = (timezone.now() + timedelta(days=3)).isoformat()
    _, second = acme.call("post", "prices", {"model": "m", "input": "3", "output": "1", "valid_from": later})
    assert acme.call("get", f"prices/{first['id']}")[1]["valid_until"] == second["valid_from"]
    assert acme.call("delete", f"prices/{second['id']}")[0] == 204
    assert acme.call("get", f"prices/{first['id']}")[1]["valid_until"] is None
    assert acme.call("get", f"prices/{second['id']}")[0] == 404


def test_a_price_too_small_to_be_kept_is_refused_and_not_taken_for_nothing(acme: Caller, shared: Model) -> None:
    for tiny in ("0.0000000001", 1e-10):
        status, answer = acme.call("post", "prices", {"model": "m", "input": tiny, "output": "1"})
        assert (status, answer["error"]["code"]) == (400, "invalid")
        assert list(answer["error"]["details"]["fields"]) == ["input"]
    assert not Price.objects.for_tenant(acme.tenant).exists()
    assert acme.call("post", "prices", {"model": "m", "input": "0", "output": "0.000000001"})[0] == 201


def test_a_price_of_the_past_is_not_rewritten(acme: Caller, shared: Model) -> None:
    past = (timezone.now() - timedelta(days=2)).isoformat()
    assert acme.call("post", "prices", {"model": "m", "input": "1", "output": "1", "valid_from": past})[0] == 201
    status, answer = acme.call("post", "prices", {"model": "m", "input": "2", "output": "1", "valid_from": past})
    assert (status, answer["error"]["code"]) == (409, "price_in_the_past")
    assert [price.input_nano_usd_per_mtok for price in Price.objects.for_tenant(acme.tenant)] == [parse_usd("1")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=m", ["m"]),
        ("name=em", []),
        ("search=M", ["m", "mini"]),
        ("provider=vendor", ["m", "mini"]),
        ("provider=other", []),
        ("kind=embedding", ["mini"]),
        ("quality=standard", ["m", "mini"]),
        ("capability=tools&capability=vision", ["m"]),
        ("capability=code", []),
        ("enabled=false", ["mini"]),
        ("shared=true", ["m"]),
        ("shared=false", ["mini"]),
    ],
)
def test_models_are_filtered(acme: Caller, shared: Model, query: str, expected: list[str]) -> None:
    Model.objects.create(tenant=acme.tenant, provider=shared.provider, name="mini", kind="embedding", is_enabled=False)
    assert acme.names(f"models?{query}") == expected


@pytest.fixture
def priced(acme: Caller, vendor: Provider) -> None:
    """Four models of different size and price; `unpriced` has none, and `keyless` no key."""
    keyless = Provider.objects.create(
        tenant=None, name="keyless", base_url="https://k.example/v1", api_key_env="NO_KEY"
    )
    now = timezone.now()
    sizes = {
        "dear": (9, 40, 1000, 100),
        "even": (2, 10, 2000, None),
        "cheap": (1, 12, None, 300),
        "keyless": (3, 9, 8000, 800),
    }
    for name, (input_usd, output_usd, context, longest) in sizes.items():
        row = Model.objects.create(
            tenant=None, provider=keyless if name == "keyless" else vendor, name=name, context_tokens=context,
            max_output_tokens=longest,
        )  # fmt: skip
        for begins, factor in ((now - timedelta(days=9), 1), (now + timedelta(days=1), 100)):
            Price.objects.create(
                tenant=None, model=row, valid_from=begins, input_nano_usd_per_mtok=factor * input_usd * 10**9,
                output_nano_usd_per_mtok=factor * output_usd * 10**9,
            )  # fmt: skip
    Model.objects.create(tenant=None, provider=vendor, name="unpriced", context_tokens=4000)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("max_input_cost=2", ["cheap", "even"]),
        ("max_input_cost=1.999999999", ["cheap"]),
        ("max_output_cost=10", ["even", "keyless"]),
        ("max_output_cost=10&max_input_cost=2.00", ["even"]),
        ("max_input_cost=0", []),
        # Of 1,000 tokens in and 500 out: 0.007, 0.007, 0.0075 and 0.029 USD; the same is by name.
        ("ordering=cheapest", ["cheap", "even", "keyless", "dear", "unpriced"]),
        ("ordering=cheapest&max_output_cost=40&min_context_tokens=1000", ["even", "keyless", "dear"]),
        ("ordering=name&max_output_cost=40", ["cheap", "dear", "even", "keyless"]),
        ("min_context_tokens=2000", ["even", "keyless", "unpriced"]),
        ("min_context_tokens=8001", []),
        ("min_output_tokens=300", ["cheap", "keyless"]),
        ("ids=dear,unpriced,nobody", ["dear", "unpriced"]),
        ("ids=dear&provider=keyless", []),
        ("usable=true", ["cheap", "dear", "even", "unpriced"]),
        ("usable=false", ["keyless"]),
        ("usable=true&max_output_cost=10", ["even"]),
    ],
)
def test_models_are_found_by_price_size_and_use(acme: Caller, priced: None, query: str, expected: list[str]) -> None:
    assert acme.names(f"models?{query}") == expected


def test_ones_own_price_and_model_count_for_oneself_alone(acme: Caller, globex: Caller, priced: None) -> None:
    assert acme.call("post", "prices", {"model": "dear", "input": "0.1", "output": "0.1"})[0] == 201
    assert acme.names("models?ordering=cheapest&ids=dear,cheap") == ["dear", "cheap"]
    assert globex.names("models?ordering=cheapest&ids=dear,cheap") == ["cheap", "dear"]
    assert acme.names("models?max_input_cost=0.1") == ["dear"] and globex.names("models?max_input_cost=0.1") == []
    # An own model hides the shared one of its name from calls, though both are listed.
    own = {"name": "even", "provider": "vendor", "is_enabled": False}
    assert acme.call("post", "models", own)[0] == 201
    assert acme.names("models?usable=true&ids=even") == [] and globex.names("models?usable=true&ids=even") == ["even"]
    assert acme.names("models?usable=false&ids=even") == ["even", "even"]


def test_the_cheapest_come_first_over_all_pages(acme: Caller, priced: None) -> None:
    found: list[str] = []
    path = "models?ordering=cheapest&limit=2"
    for _ in range(3):
        page = acme.call("get", path)[1]
        found += [row["name"] for row in page["results"]]
        path = (page["next"] or "").partition("/api/v1/")[2]
    assert (found, path) == (["cheap", "even", "keyless", "dear", "unpriced"], "")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("max_input_cost=cheap", "max_input_cost"),
        ("max_output_cost=-1", "max_output_cost"),
        ("max_output_cost=NaN", "max_output_cost"),
        ("max_output_cost=", "max_output_cost"),
        ("min_context_tokens=1.5", "min_context_tokens"),
        ("min_output_tokens=9999999999", "min_output_tokens"),
        ("min_output_tokens=-1", "min_output_tokens"),
        ("usable=maybe", "usable"),
        ("ordering=dearest", "ordering"),
        ("ids=", "ids"),
        ("ids=a,,b", "ids"),
        ("ids=a%07", "ids"),
        ("ids=" + ",".join(f"m{number}" for number in range(101)), "ids"),
    ],
)
def test_a_question_about_models_that_cannot_be_is_told(acme: Caller, query: str, field: str) -> None:
    status, answer = acme.call("get", f"models?{query}")
    assert (status, answer["error"]["code"], answer["error"]["details"]["field"]) == (400, "invalid_query", field)


@pytest.mark.parametrize("query", ["enabled=maybe", "shared=1", "capability=magic", "search=%00", "limit=0"])
def test_a_wrong_filter_is_told(acme: Caller, query: str) -> None:
    assert acme.call("get", f"models?{query}")[0] == 400


def test_lists_come_in_pages(acme: Caller, shared: Model) -> None:
    for number in range(5):
        Model.objects.create(tenant=acme.tenant, provider=shared.provider, name=f"own-{number}")
    status, page = acme.call("get", "models?limit=4")
    assert (status, len(page["results"])) == (200, 4)
    rest = acme.client.get(page["next"], headers={"authorization": f"Bearer {acme.secret}"}).json()
    assert [row["name"] for row in page["results"] + rest["results"]] == [
        "m",
        *(f"own-{number}" for number in range(5)),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("providers", {"name": "own", "base_url": "http://llm.acme.example/v1"}),
        ("providers", {"name": "own", "base_url": "https://127.0.0.1/v1"}),
        ("providers", {"name": "own", "base_url": "https://169.254.169.254/latest"}),
        ("providers", {"name": "own", "base_url": "https://[::1]/v1"}),
        ("providers", {"name": "own", "base_url": "https://2130706433/v1"}),
        ("providers", {"name": "own", "base_url": "https://127.1/v1"}),
        ("providers", {"name": "own", "base_url": "https://localhost/v1"}),
        ("providers", {"name": "own", "base_url": "https://db.internal/v1"}),
        ("providers", {"name": "own", "base_url": "https://postgres/v1"}),
        ("providers", {"name": "own", "api_key_env": "OPENAI_API_KEY"}),
        ("providers", {"name": "own", "api_key_env": "SECRET_KEY"}),
        ("providers", {"name": "own", "dialect": "sandbox"}),
        ("providers", {"name": "not a slug"}),
        ("providers", {"name": "own", "timeout_seconds": 0}),
        ("providers", {"name": "own", "auth_header": "content-type"}),
        ("providers", {"name": "own", "auth_header": "cookie"}),
        ("providers", {"name": "own", "auth_header": "x-forwarded-key"}),
        ("providers", {"name": "own", "auth_header": "proxy-authorization"}),
        ("providers", {"name": "own", "auth_header": "x-key\n"}),
        ("providers", {"name": "own", "auth_header": "X Key"}),
        ("models", {"name": "x", "provider": "nobody"}),
        ("models", {"name": "x", "provider": "vendor", "base_url": "https://10.0.0.1/v1"}),
        ("models", {"name": "x", "provider": "vendor", "api_key_env": "OPENAI_API_KEY"}),
        ("models", {"name": "x", "provider": "vendor", "capabilities": ["magic"]}),
        ("models", {"name": "x", "provider": "vendor", "aliases": "y"}),
        ("models", {"name": "x", "provider": "vendor", "aliases": [7]}),
        ("models", {"name": "x", "provider": "vendor", "context_tokens": -1}),
        ("models", {"name": "x", "provider": "vendor", "colour": "red"}),
        ("models", {"name": "x\u0000", "provider": "vendor"}),
        ("models", {"name": "", "provider": "vendor"}),
        ("prices", {"model": "nobody", "input": 1, "output": 1}),
        ("prices", {"model": "m", "input": -1, "output": 1}),
        ("prices", {"model": "m", "input": "NaN", "output": 1}),
        ("prices", {"model": "m", "input": 1}),
        ("prices", {"model": "m", "input": 1, "output": 1, "min_context_tokens": -1}),
        ("prices", {"model": "m", "input": 1, "output": 1, "daily_from_minute": 500, "daily_until_minute": 400}),
        ("prices", {"model": "m", "input": 1, "output": 1, "valid_until": "2001-01-01T00:00:00Z"}),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    acme: Caller, shared: Model, path: str, body: dict[str, Any]
) -> None:
    status, answer = acme.call("post", path, body)
    assert (status, "error" in answer) == (400, True)
    kinds: list[Any] = [Provider, Model, Price]
    assert not any(kind.objects.for_tenant(acme.tenant).exists() for kind in kinds)


def test_a_tenant_may_name_the_key_variables_set_aside_for_it(acme: Caller, globex: Caller) -> None:
    body = {"name": "own", "base_url": "https://llm.acme.example/v1", "api_key_env": f"TENANT_{acme.tenant.pk}_LLM_KEY"}
    assert acme.call("post", "providers", body)[0] == 201
    assert globex.call("post", "providers", body)[0] == 400


def test_a_name_is_taken_once(acme: Caller, globex: Caller, vendor: Provider) -> None:
    assert acme.call("post", "models", {"name": "own", "provider": "vendor"})[0] == 201
    assert acme.call("post", "models", {"name": "own", "provider": "vendor"})[0] == 409
    assert globex.call("post", "models", {"name": "own", "provider": "vendor"})[0] == 201


def test_reading_needs_read_and_writing_manage(acme: Caller, shared: Model) -> None:
    reader = Caller(acme.tenant, permissions=("read",))
    spender = Caller(acme.tenant, permissions=("spend",))
    assert reader.call("get", "models")[0] == 200
    assert reader.call("post", "models", {"name": "own", "provider": "vendor"})[0] == 403
    assert spender.call("get", "models")[0] == 403


def test_a_price_for_a_service_tier_stands_beside_the_standard_one(acme: Caller, shared: Model) -> None:
    for tier, input_usd in (("", "1"), ("priority", "2"), ("fast+us", "3")):
        wanted = {"model": "m", "input": input_usd, "output": "1", "service_tier": tier, "web_search": "10"}
        status, price = acme.call("post", "prices", wanted)
        assert (status, price["service_tier"], price["web_search"]) == (201, tier, "10.00")
    assert acme.call("get", f"models/{shared.pk}")[1]["price"]["input"] == "1.00"
    _, found = acme.call("get", "prices?service_tier=priority")
    assert [price["input"] for price in found["results"]] == ["2.00"]
    _, standard = acme.call("get", "prices?service_tier=&shared=false")
    assert [price["input"] for price in standard["results"]] == ["1.00"]
    _, edited = acme.call("patch", f"prices/{found['results'][0]['id']}", {"input": "5"})
    assert (edited["service_tier"], edited["input"], edited["web_search"]) == ("priority", "5.00", "10.00")
    table = CATALOG.refresh().resolve(acme.tenant.pk, "m")
    assert table is not None
    rates = {tier: table.prices.at(timezone.now(), tier) for tier in ("", "priority", "fast+us", "flex")}
    assert [price and price.rates_for(1).input for price in rates.values()] == [
        10**9, 5 * 10**9, 3 * 10**9, None,
    ]  # fmt: skip


@pytest.mark.parametrize("tier", ["Fast", "a b", "us+", "x" * 41, 7, None])
def test_a_service_tier_is_a_word(acme: Caller, shared: Model, tier: Any) -> None:
    wanted = {"model": "m", "input": "1", "output": "1", "service_tier": tier}
    assert acme.call("post", "prices", wanted)[0] == 400
    assert acme.names("prices?shared=false") == []


def test_a_provider_without_an_address_is_refused_where_its_dialect_needs_one(
    acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"base_url": ["is needed: it is where calls of the dialect openai are sent"]}
    for body in ({"name": "own"}, {"name": "own", "base_url": ""}):
        status, answer = acme.call("post", "providers", body)
        assert (status, answer["error"]["details"]["fields"]) == (400, told)
    _, row = acme.call("post", "providers", {"name": "own", "base_url": "https://llm.acme.example/v1"})
    status, answer = acme.call("patch", f"providers/{row['id']}", {"base_url": ""})
    assert (status, answer["error"]["details"]["fields"]) == (400, told)
    # One that has none from before stays as it is: its models may have addresses of their own.
    Provider.objects.for_tenant(acme.tenant).update(base_url="")
    assert acme.call("patch", f"providers/{row['id']}", {"timeout_seconds": 9})[0] == 200
    monkeypatch.setitem(OWN_DIALECTS, "house", "The house's own")
    assert acme.call("post", "providers", {"name": "home", "dialect": "house"})[0] == 201


def test_a_models_longest_answer_fits_into_its_context(acme: Caller, vendor: Provider) -> None:
    told = {"max_output_tokens": ["must not be more than its context holds, which is 1000 tokens"]}
    body = {"name": "mine", "provider": "vendor", "context_tokens": 1000}
    status, answer = acme.call("post", "models", {**body, "max_output_tokens": 1001})
    assert (status, answer["error"]["details"]["fields"]) == (400, told)
    status, row = acme.call("post", "models", {**body, "max_output_tokens": 1000})
    assert status == 201
    for changed in ({"context_tokens": 999}, {"max_output_tokens": 1001}):
        assert acme.call("patch", f"models/{row['id']}", changed)[0] == 400
    assert acme.call("patch", f"models/{row['id']}", {"context_tokens": None})[0] == 200


def test_a_model_with_odd_sizes_from_before_can_be_switched_off(acme: Caller, vendor: Provider) -> None:
    _, row = acme.call("post", "models", {"name": "mine", "provider": "vendor", "context_tokens": 1000})
    Model.objects.for_tenant(acme.tenant).update(max_output_tokens=1001)
    assert acme.call("patch", f"models/{row['id']}", {"is_enabled": False})[0] == 200
    assert acme.call("patch", f"models/{row['id']}", {"max_output_tokens": 1002})[0] == 400
