"""The catalog as a file: reading back what was written changes nothing, and an empty installation becomes the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from routing.catalog import BUILT_IN_FILES, refresh_catalog
from routing.catalog_export import export_catalog
from routing.configured_models import apply_configured_models
from routing.errors import InvalidCatalog
from routing.models import CATALOG_SNAPSHOT, Model, Price, Provider, Route
from routing.price_changes import end_price, set_price
from routing.price_specs import COLUMNS, PriceSpec
from spendhub.snapshots import read_version
from tests import factories

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
NANO = 10**9


def lived_in_catalog() -> None:
    """The built-in catalog, and everything else that a shared row can have."""
    refresh_catalog(BUILT_IN_FILES, NOW)
    apply_configured_models(
        [
            {"id": "edge", "provider": "local", "inputCostPerMillion": 0.123456789, "outputCostPerMillion": 2,
             "apiKeyEnv": "EDGE_KEY", "region": "eu-west-1", "aliases": ["e"], "config": {"baseUrl": "http://edge:8000/v1"}},
        ],
        NOW,
    )  # fmt: skip
    edge = Model.objects.across_tenants().get(name="edge")
    rates = {"cache_read": 1, "cache_write": 2, "cache_write_1h": 3, "reasoning": 4}
    for number, spec in enumerate(
        [
            PriceSpec(NANO, 2 * NANO, **rates, valid_from=NOW + timedelta(hours=1), source="a list"),
            PriceSpec(3 * NANO, 4 * NANO, valid_from=NOW + timedelta(days=9), valid_until=NOW + timedelta(days=10)),
            PriceSpec(NANO, NANO, valid_from=NOW, min_context_tokens=200_000),
            PriceSpec(NANO, 0, valid_from=NOW, daily_from_minute=60, daily_until_minute=120),
        ]
    ):
        set_price(edge, spec, tenant=None, now=NOW + timedelta(seconds=number))
    Model.objects.across_tenants().filter(name="edge").update(
        is_enabled=False, retires_at=NOW, upstream_name="edge/1", quality="economy", kind="chat"
    )
    Provider.objects.across_tenants().filter(name="local").update(
        is_enabled=False, timeout_seconds=7, auth_header="api-key", has_responses=True
    )
    end_price(Price.objects.across_tenants().filter(model__name="gpt-4o").latest("valid_from"), NOW)
    Route.objects.create(
        tenant=None, name="support", candidate_models=["gpt-4o", "gpt-4o-mini"], strategy="weighted",
        fallback=["edge"], match={"feature": ["support", "help"], "model": ["*"]}, priority=7, is_enabled=False,
        options={"split": {"gpt-4o": 0.9, "gpt-4o-mini": 0.1}, "timeout_ms": 30_000},
    )  # fmt: skip
    Route.objects.across_tenants().filter(name="fast").update(priority=50, edited_fields=["priority"])


def everything() -> list[Any]:
    """All shared facts as rows, but for who set them and when they were looked up."""
    models = Model.objects.across_tenants().order_by("name").values_list(
        "name", "provider__name", "kind", "quality", "context_tokens", "max_output_tokens", "capabilities", "aliases",
        "upstream_name", "region", "retires_at", "base_url", "api_key_env", "is_enabled", "source",
    )  # fmt: skip
    providers = Provider.objects.across_tenants().order_by("name").values_list(
        "name", "dialect", "base_url", "api_key_env", "auth_header", "has_responses", "timeout_seconds", "is_enabled"
    )  # fmt: skip
    prices = Price.objects.across_tenants().order_by(
        "model__name", "service_tier", "valid_from", "min_context_tokens", "daily_from_minute"
    )
    dated = prices.values_list(
        "model__name", "service_tier", "valid_from", "valid_until", "min_context_tokens", "daily_from_minute",
        "daily_until_minute", "source", *COLUMNS.values(),
    )  # fmt: skip
    routes = Route.objects.across_tenants().order_by("name").values_list(
        "name", "candidate_models", "strategy", "fallback", "match", "options", "priority", "is_enabled"
    )  # fmt: skip
    return [*models, *providers, *dated, *routes]


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("catalog", *arguments, stdout=out)
    return out.getvalue()


def test_reading_back_what_was_written_changes_nothing(tmp_path: Path) -> None:
    lived_in_catalog()
    path = tmp_path / "catalog.json"
    count = Model.objects.across_tenants().count()
    prices, routes = Price.objects.across_tenants().count(), Route.objects.across_tenants().count()
    assert f"{count} models, {prices} prices and {routes} routes in {path}" in run("export", str(path))
    before, version = everything(), read_version(CATALOG_SNAPSHOT)
    assert run("update", str(path)) == "no changes\n"
    assert not refresh_catalog([path], NOW + timedelta(days=30))
    assert (everything(), read_version(CATALOG_SNAPSHOT)) == (before, version)


def test_an_empty_installation_becomes_the_same(tmp_path: Path) -> None:
    lived_in_catalog()
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(export_catalog(NOW)))
    before = everything()
    for kind in (Price, Model, Provider, Route):
        kind.objects.across_tenants().all().delete()
    refresh_catalog([path], NOW + timedelta(days=30))
    assert everything() == before
    assert export_catalog(NOW) == json.loads(path.read_text())


def test_a_tenants_own_rows_are_not_written() -> None:
    acme = factories.acme()
    vendor = Provider.objects.create(tenant=acme, name="secretive", base_url="https://llm.acme.example/v1")
    Model.objects.create(tenant=acme, provider=vendor, name="own")
    shared = Model.objects.create(tenant=None, name="m", provider=Provider.objects.create(tenant=None, name="vendor"))
    Price.objects.create(
        tenant=acme, model=shared, valid_from=NOW, input_nano_usd_per_mtok=1, output_nano_usd_per_mtok=1
    )
    Route.objects.create(tenant=acme, name="own")
    found = export_catalog(NOW)
    assert found["routes"] == []
    assert [each["name"] for each in found["providers"]] == ["vendor"]
    assert [(each["name"], each["prices"]) for each in found["models"]] == [("m", [])]


def test_a_price_is_written_to_the_nano_dollar_and_no_longer_than_it_must_be() -> None:
    model = Model.objects.create(tenant=None, name="m", provider=Provider.objects.create(tenant=None, name="vendor"))
    day = datetime(2026, 12, 1, tzinfo=UTC)
    for begins, rate, more in ((day, 1, {"min_context_tokens": 9}), (NOW, 2_500_000_000, {"valid_until": day})):
        Price.objects.create(
            tenant=None,
            model=model,
            valid_from=begins,
            input_nano_usd_per_mtok=rate,
            output_nano_usd_per_mtok=0,
            **more,
        )
    assert export_catalog(NOW)["models"][0]["prices"] == [
        {
            "input": "2.50",
            "output": "0.00",
            "valid_from": "2026-11-24T12:30:00+00:00",
            "valid_until": "2026-12-01",
            "source": "",
        },
        {"input": "0.000000001", "output": "0.00", "valid_from": "2026-12-01", "min_context_tokens": 9, "source": ""},
    ]


def test_without_a_file_it_is_printed() -> None:
    Provider.objects.create(tenant=None, name="vendor")
    assert json.loads(run("export"))["providers"][0]["name"] == "vendor"


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file or directory"):
        run("export", str(tmp_path / "nowhere" / "catalog.json"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"is_enabled": "yes"}, "is_enabled must be true or false"),
        ({"base_url": "nowhere"}, "base_url: 'nowhere' is no address"),
        ({"api_key_env": "not a name"}, "api_key_env: Letters, digits"),
        ({"region": "Far Away"}, "region: Small letters"),
        ({"retires_on": "someday"}, "retires_on: 'someday' is no date"),
    ],
)
def test_what_a_file_cannot_say_of_a_model_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = tmp_path / "catalog.json"
    content = {"providers": [{"name": "v"}], "models": [{"name": "m", "provider": "v", **change}]}
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidCatalog, match=problem):
        refresh_catalog([path], NOW)
    assert not Model.objects.across_tenants().exists()


def read_route(path: Path, **facts: Any) -> list[str]:
    models = [{"name": "large", "provider": "v", "aliases": ["big"]}, {"name": "small", "provider": "v"}]
    content = {"providers": [{"name": "v"}], "models": models, "routes": [{"name": "support", **facts}]}
    path.write_text(json.dumps(content))
    return refresh_catalog([path], NOW).lines


def test_a_file_may_name_a_routes_models_by_alias_and_its_keys_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    wish = {"models": ["big", "small"], "fallback": ["v/small"], "match": {"feature": "support"}}
    assert "+ route support" in read_route(path, **wish)
    row = Route.objects.across_tenants().get()
    assert (row.candidate_models, row.fallback, row.match) == (["large", "small"], ["small"], {"feature": ["support"]})
    assert read_route(path, **wish) == []
    assert read_route(path, **wish | {"models": ["small"], "is_enabled": False}) == [
        "~ route support: candidate_models ['large', 'small'] -> ['small']",
        "~ route support: is_enabled True -> False",
    ]


def test_a_route_whose_model_has_left_the_catalog_is_read_back_all_the_same(tmp_path: Path) -> None:
    Route.objects.create(tenant=None, name="old", candidate_models=["left"])
    run("export", str(tmp_path / "catalog.json"))
    assert run("update", str(tmp_path / "catalog.json")) == "no changes\n"


def test_what_an_admin_has_set_of_a_route_stays(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    read_route(path, models=["large"])
    Route.objects.across_tenants().update(candidate_models=["small"], edited_fields=["candidate_models"])
    assert read_route(path, models=["large"], priority=5) == ["~ route support: priority 100 -> 5"]
    assert Route.objects.across_tenants().get().candidate_models == ["small"]


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"models": "large"}, "models: 'large' must be a list"),
        ({"models": [5]}, "models and fallback must be lists of models' names"),
        ({"models": ["huge"]}, "models: no model is called 'huge'"),
        ({"fallback": ["huge"]}, "fallback: no model is called 'huge'"),
        ({"strategy": "dice"}, "strategy: .*'dice'"),
        ({"options": {"timeout_ms": 0}}, "options: route: timeout_ms must be"),
        ({"match": {"planet": "mars"}}, "match: 'planet' is none of"),
        ({"priority": 1001}, "priority: Ensure this value is less than or equal to 1000"),
        ({"is_enabled": "yes"}, "is_enabled: 'yes' must be a bool"),
    ],
)
def test_what_a_file_cannot_say_of_a_route_is_named_and_nothing_is_written(
    tmp_path: Path, facts: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidCatalog, match=f"route 'support': {problem}"):
        read_route(tmp_path / "catalog.json", **facts)
    assert not Model.objects.across_tenants().exists()
    assert not Route.objects.across_tenants().exists()
