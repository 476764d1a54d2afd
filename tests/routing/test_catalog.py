"""Loading and refreshing the catalog: admins' edits stay, old prices are closed, a second run does nothing."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries, Settings

from routing.catalog import BUILT_IN_FILES, refresh_catalog, remember_edits, set_provider
from routing.configured_models import apply_configured_models
from routing.errors import InvalidCatalog
from routing.models import CAPABILITIES, CATALOG_SNAPSHOT, Model, Price, Provider
from routing.price_changes import PriceInThePast, end_price, set_price
from routing.price_specs import BEGINNING, PriceSpec
from routing.snapshot import CATALOG
from spendhub.money import parse_usd
from spendhub.snapshots import read_version
from tests.factories import TenantFactory
from tests.servers import wait_until

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=7)


def catalog_file(path: Path, *models: dict[str, Any], **providers: str) -> Path:
    content = {
        "source": "a test",
        "checked_on": "2026-11-24",
        "providers": [{"name": "vendor", "dialect": "openai", "base_url": "https://vendor.example/v1", **providers}],
        "models": list(models),
    }
    path.write_text(json.dumps(content))
    return path


def model(name: str = "m", *, input: str = "2", output: str = "10", **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": "vendor", "prices": [{"input": input, "output": output}], **more}


def shared_model(name: str) -> Model:
    return Model.objects.across_tenants().get(tenant=None, name=name)


def price_rows(name: str) -> list[tuple[int, datetime, datetime | None]]:
    rows = Price.objects.across_tenants().filter(model__name=name).order_by("valid_from")
    return [(row.input_nano_usd_per_mtok, row.valid_from, row.valid_until) for row in rows]


def price_now(name: str, moment: datetime = NOW) -> int | None:
    CATALOG.forget()
    found = CATALOG.current().resolve(None, name)
    price = found.price_at(moment) if found else None
    return price.tiers[-1].input if price else None


@pytest.fixture(scope="module")
def built_in(django_db_setup: None, django_db_blocker: Any) -> None:
    """Nothing is kept in the database between tests: only the slow import is paid once."""
    import genai_prices.data  # noqa: F401  # half a second, once


def test_the_built_in_catalog_has_what_was_promised(built_in: None) -> None:
    changes = refresh_catalog(BUILT_IN_FILES, NOW)
    assert changes
    models = Model.objects.across_tenants().select_related("provider")
    by_provider: dict[str, int] = {}
    for row in models:
        by_provider[row.provider.name] = by_provider.get(row.provider.name, 0) + 1
        assert set(row.capabilities) <= set(CAPABILITIES), row.name
    assert sum(by_provider.values()) - by_provider["sandbox"] >= 150
    assert {"openai", "anthropic", "google", "mistral", "deepseek", "xai", "groq", "bedrock", "sandbox"} <= set(
        by_provider
    )
    catalog = CATALOG.current()
    unpriced = [facts.name for facts in catalog.models_of(None) if facts.price_at(NOW) is None]
    assert unpriced == []
    assert all(facts.price_at(NOW) for facts in catalog.models_of(None) if facts.provider.name == "bedrock")
    assert not refresh_catalog(BUILT_IN_FILES, LATER)


def test_a_second_run_changes_nothing_and_moves_no_version(tmp_path: Path) -> None:
    path = catalog_file(tmp_path / "c.json", model())
    assert refresh_catalog([path], NOW).lines == [
        "+ provider vendor",
        "+ model m",
        "+ price m: 2.00/10.00 USD per million in/out",
    ]
    version = read_version(CATALOG_SNAPSHOT)
    assert not refresh_catalog([path], LATER)
    assert read_version(CATALOG_SNAPSHOT) == version


def test_a_new_price_closes_the_old_one_and_changes_nothing_before(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    refresh_catalog([catalog_file(path, model())], NOW)
    refresh_catalog([catalog_file(path, model(input="3"))], LATER)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, LATER), (parse_usd("3"), LATER, None)]
    assert price_now("m", LATER - timedelta(microseconds=1)) == parse_usd("2")
    assert price_now("m", LATER) == parse_usd("3")
    assert not refresh_catalog([path], LATER + timedelta(days=1))


def test_a_price_that_begins_in_the_future_waits_for_its_day(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    refresh_catalog([catalog_file(path, model())], NOW)
    dated = model()
    dated["prices"] = [
        {"input": "2", "output": "10", "valid_until": "2026-12-01"},
        {"input": "1", "output": "5", "valid_from": "2026-12-01"},
    ]
    refresh_catalog([catalog_file(path, dated)], NOW)
    december = datetime(2026, 12, 1, tzinfo=UTC)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, december), (parse_usd("1"), december, None)]
    assert not refresh_catalog([path], LATER)


def test_a_tier_that_goes_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    tiered = model()
    tiered["prices"].append({"input": "4", "output": "20", "min_context_tokens": 200_000})
    refresh_catalog([catalog_file(path, tiered)], NOW)
    refresh_catalog([catalog_file(path, model())], LATER)
    CATALOG.forget()
    facts = CATALOG.current().resolve(None, "m")
    assert facts is not None
    before, after = facts.price_at(NOW), facts.price_at(LATER)
    assert before is not None and after is not None
    assert before.rates_for(200_001).input == parse_usd("4")
    assert after.rates_for(200_001).input == parse_usd("2")
    assert not refresh_catalog([path], LATER)


def test_what_an_admin_has_set_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    refresh_catalog([catalog_file(path, model(context_tokens=1000, capabilities=["tools"]))], NOW)
    row = shared_model("m")
    row.context_tokens = 5
    remember_edits(row, ["context_tokens"])
    row.is_enabled = False
    row.save()
    set_price(row, PriceSpec(input=parse_usd("9"), output=0, valid_from=NOW), tenant=None, now=NOW)
    set_provider("vendor", base_url="http://localhost:9/v1")
    newer = model(input="3", context_tokens=2000, capabilities=["tools", "vision"])
    refresh_catalog([catalog_file(path, newer, base_url="https://elsewhere.example")], LATER)
    row = shared_model("m")
    assert row.context_tokens == 5
    assert row.capabilities == ["tools", "vision"]
    assert row.is_enabled is False
    assert price_now("m", LATER) == parse_usd("9")
    assert Provider.objects.across_tenants().get(name="vendor").base_url == "http://localhost:9/v1"
    assert not refresh_catalog([path], LATER)


def test_models_that_a_file_does_not_name_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    refresh_catalog([catalog_file(path, model("a"), model("b"))], NOW)
    assert not refresh_catalog([catalog_file(path, model("a"))], LATER)
    assert price_now("b", LATER) == parse_usd("2")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "must be an object"),
        ("{not json", "is no JSON"),
        ('{"models": [{"provider": "x"}]}', "needs a name"),
        ('{"models": [{"name": "m", "provider": "nobody"}]}', "no provider is called 'nobody'"),
    ],
)
def test_a_file_that_is_none_changes_nothing(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InvalidCatalog, match=problem):
        refresh_catalog([path], NOW)
    assert not Model.objects.across_tenants().exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prices": [{"input": "2"}]}, "input and output"),
        ({"prices": [{"input": "-2", "output": "1"}]}, "input"),
        ({"prices": [{"input": "NaN", "output": "1"}]}, "input"),
        ({"prices": [{"input": "1", "output": "1", "colour": "red"}]}, "colour"),
        ({"prices": [{"input": "1", "output": "1", "valid_from": "soon"}]}, "valid_from"),
        ({"prices": ["cheap"]}, "must be an object"),
        ({"kind": "song"}, "kind must be"),
        ({"quality": "great"}, "quality must be"),
        ({"context_tokens": "many"}, "context_tokens"),
        ({"capabilities": "tools"}, "capabilities"),
        ({"retires_on": "later"}, "retires_on"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidCatalog, match=problem):
        refresh_catalog([catalog_file(tmp_path / "c.json", model("fine"), {**model(), **change})], NOW)
    assert not Model.objects.across_tenants().exists()


def test_a_refresh_of_everything_takes_few_queries(
    tmp_path: Path, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    path = catalog_file(tmp_path / "c.json", *(model(f"m{number}") for number in range(300)))
    with django_assert_max_num_queries(40):
        refresh_catalog([path], NOW)
    with django_assert_max_num_queries(10):
        refresh_catalog([path], NOW)


def test_a_price_set_by_an_admin_begins_where_the_old_one_ends(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    set_price(row, PriceSpec(input=7, output=7, valid_from=LATER), tenant=None, now=NOW)
    set_price(row, PriceSpec(input=8, output=8, valid_from=LATER), tenant=None, now=NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, LATER), (8, LATER, None)]
    between = NOW + timedelta(days=1)
    set_price(row, PriceSpec(input=5, output=5, valid_from=between), tenant=None, now=NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, between), (5, between, LATER), (8, LATER, None)]


def test_a_price_of_the_past_is_not_rewritten_but_a_form_may_have_been_open_for_a_while(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    with pytest.raises(PriceInThePast):
        set_price(row, PriceSpec(input=7, output=7, valid_from=NOW - timedelta(days=1)), tenant=None, now=NOW)
    set_price(row, PriceSpec(input=7, output=7, valid_from=NOW - timedelta(minutes=5)), tenant=None, now=NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, NOW), (7, NOW, None)]


def test_a_price_that_has_been_in_force_is_ended_not_deleted(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    end_price(Price.objects.across_tenants().get(model=row), NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, NOW)]


def test_where_a_price_is_taken_back_before_it_begins_the_one_before_it_holds_on(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    future = set_price(row, PriceSpec(input=8, output=8, valid_from=LATER), tenant=None, now=NOW)
    end_price(future, NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, None)]
    assert price_now("m", LATER + timedelta(days=1)) == parse_usd("2")


def test_a_price_taken_back_between_two_others_leaves_no_gap(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row, last = shared_model("m"), LATER + timedelta(days=7)
    future = set_price(row, PriceSpec(input=8, output=8, valid_from=LATER), tenant=None, now=NOW)
    set_price(row, PriceSpec(input=9, output=9, valid_from=last), tenant=None, now=NOW)
    end_price(future, NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, last), (9, last, None)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_price_that_has_an_end_of_its_own_holds_on_until_then(tmp_path: Path, order: tuple[int, int]) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row, day = shared_model("m"), timedelta(days=1)
    set_price(row, PriceSpec(input=7, output=7, valid_from=NOW, valid_until=NOW + 90 * day), tenant=None, now=NOW)
    later = [
        set_price(row, PriceSpec(input=rate, output=rate, valid_from=NOW + begins * day), tenant=None, now=NOW)
        for rate, begins in ((8, 30), (9, 20))
    ]
    for each in order:
        end_price(later[each], NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, NOW), (7, NOW, NOW + 90 * day)]


def test_a_catalogs_price_holds_on_where_the_one_that_follows_it_there_is_taken_back(tmp_path: Path) -> None:
    prices = [
        {"input": "2", "output": "2", "valid_until": LATER.isoformat()},
        {"input": "3", "output": "3", "valid_from": LATER.isoformat()},
    ]
    refresh_catalog([catalog_file(tmp_path / "c.json", model(prices=prices))], NOW)
    end_price(Price.objects.across_tenants().get(valid_from=LATER), NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, None)]


def test_a_price_that_was_to_end_where_the_next_one_began_ends_there(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    set_price(row, PriceSpec(input=7, output=7, valid_from=NOW, valid_until=LATER), tenant=None, now=NOW)
    end_price(set_price(row, PriceSpec(input=8, output=8, valid_from=LATER), tenant=None, now=NOW), NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, NOW), (7, NOW, LATER)]


def test_a_price_is_taken_back_once(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    future = set_price(shared_model("m"), PriceSpec(input=8, output=8, valid_from=LATER), tenant=None, now=NOW)
    seen_by_another = Price.objects.across_tenants().get(pk=future.pk)
    for each in (future, seen_by_another):
        end_price(each, NOW)
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, None)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's writers wait for each other anyway")
@pytest.mark.django_db(transaction=True)
def test_two_prices_that_follow_each_other_are_taken_back_at_once(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row = shared_model("m")
    first, second = (
        set_price(row, PriceSpec(input=rate, output=rate, valid_from=begins), tenant=None, now=NOW)
        for rate, begins in ((8, LATER), (9, LATER + timedelta(days=7)))
    )
    failed: list[Exception] = []

    def take_back_second() -> None:
        try:
            end_price(second, NOW)
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    other = threading.Thread(target=take_back_second)
    with transaction.atomic():
        end_price(first, NOW)
        other.start()
        wait_until(is_waiting, 20, "the second to wait for the first")
    other.join()
    assert failed == []
    assert price_rows("m") == [(parse_usd("2"), BEGINNING, None)]


def test_a_price_taken_back_touches_no_other_tier_size_or_owner_and_no_end_of_its_own(tmp_path: Path) -> None:
    refresh_catalog([catalog_file(tmp_path / "c.json", model())], NOW)
    row, acme = shared_model("m"), TenantFactory(slug="acme")
    before = LATER - timedelta(days=1)
    other = [
        set_price(row, PriceSpec(input=1, output=1, valid_from=NOW, valid_until=LATER, service_tier="flex"),
                  tenant=None, now=NOW),
        set_price(row, PriceSpec(input=1, output=1, valid_from=NOW, valid_until=LATER, min_context_tokens=9),
                  tenant=None, now=NOW),
        set_price(row, PriceSpec(input=1, output=1, valid_from=NOW, valid_until=before), tenant=acme, now=NOW),
    ]  # fmt: skip
    for tenant in (None, acme):
        end_price(set_price(row, PriceSpec(input=8, output=8, valid_from=LATER), tenant=tenant, now=NOW), NOW)
    for price, ends in zip(other, (LATER, LATER, before), strict=True):
        price.refresh_from_db()
        assert price.valid_until == ends


# ROUTER_CONFIG_MODELS


GLM = {
    "id": "glm-edge", "provider": "zhipu", "inputCostPerMillion": 0.3, "outputCostPerMillion": "0.6",
    "maxTokens": 128000, "capabilities": ["general", "chinese"], "apiKeyEnv": "GLM_KEY", "enabled": True,
    "config": {"baseUrl": "https://open.bigmodel.cn/api/paas/v4"},
}  # fmt: skip


def test_the_environment_adds_a_model() -> None:
    lines = apply_configured_models([GLM], NOW)
    assert lines[:2] == ["+ provider zhipu (ROUTER_CONFIG_MODELS)", "+ model glm-edge (ROUTER_CONFIG_MODELS)"]
    facts = CATALOG.current().resolve(None, "glm-edge")
    assert facts is not None
    assert (facts.context_tokens, facts.api_key_env, facts.base_url) == (
        128_000, "GLM_KEY", "https://open.bigmodel.cn/api/paas/v4",
    )  # fmt: skip
    # The recipe has no words for interfaces: what every chat model can do is assumed.
    assert facts.capabilities == {"general", "chinese", "json", "streaming", "tools"}
    price = facts.price_at(NOW)
    assert price is not None
    assert (price.tiers[0].input, price.tiers[0].output) == (parse_usd("0.3"), parse_usd("0.6"))
    assert apply_configured_models([GLM], LATER) == []


def test_the_environment_says_where_a_model_runs() -> None:
    apply_configured_models([{**GLM, "region": "ap-southeast-1"}], NOW)
    facts = CATALOG.current().resolve(None, "glm-edge")
    assert facts is not None and facts.region == "ap-southeast-1"
    assert apply_configured_models([{**GLM, "region": "ap-southeast-1"}], LATER) == []


def test_the_environment_overrides_a_model_and_a_refresh_keeps_that(tmp_path: Path) -> None:
    tiered = model(capabilities=["tools"], context_tokens=1)
    tiered["prices"].append({"input": "4", "output": "20", "min_context_tokens": 200_000})
    path = catalog_file(tmp_path / "c.json", tiered)
    refresh_catalog([path], NOW)
    given = {
        "id": "m",
        "input_cost_per_million": "1.5",
        "output_cost_per_million": 3,
        "max_tokens": 99,
        "enabled": False,
    }
    apply_configured_models([given], NOW)
    assert not refresh_catalog([path], LATER)
    CATALOG.forget()
    facts = CATALOG.current().resolve(None, "m")
    assert facts is not None
    price = facts.price_at(NOW)
    assert price is not None
    assert [rates.input for rates in price.tiers] == [parse_usd("1.5")]
    assert (facts.context_tokens, facts.is_enabled, facts.capabilities) == (99, False, frozenset({"tools"}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": None}, "id must be"),
        ({"provider": "no such slug!"}, "provider"),
        ({"maxTokens": 0}, "max_tokens"),
        ({"capabilities": ["magic"]}, "'magic'"),
        ({"capabilities": "code"}, "list of words"),
        ({"enabled": "yes"}, "enabled"),
        ({"inputCostPerMillion": -1}, "input_cost_per_million"),
        ({"outputCostPerMillion": None}, "belong together"),
        ({"config": {"baseUrl": "nowhere"}}, "base_url"),
        ({"config": 7}, "must be an object"),
        ({"apiKeyEnv": "not a name"}, "api_key_env"),
        ({"colour": "red"}, "'colour' is no field"),
        ({"quality": "great"}, "quality"),
        ({"region": "Europe, somewhere"}, "region"),
    ],
)
def test_a_wrong_entry_is_named_and_nothing_is_written(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidCatalog, match=problem):
        apply_configured_models([{**GLM, "id": "fine"}, {**GLM, **change}], NOW)
    assert not Model.objects.across_tenants().exists()


def test_an_entry_needs_a_provider_and_must_be_an_object() -> None:
    with pytest.raises(InvalidCatalog, match="provider is missing"):
        apply_configured_models([{"id": "m"}], NOW)
    with pytest.raises(InvalidCatalog, match="must be an object"):
        apply_configured_models(["gpt-4"], NOW)


# Commands


def run(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def test_the_command_prints_what_changed_and_then_no_changes(tmp_path: Path, settings: Settings) -> None:
    settings.ROUTER_CONFIG_MODELS = [GLM]
    path = str(catalog_file(tmp_path / "c.json", *(model(f"m{number}") for number in range(60))))
    first = run("catalog", "update", path)
    assert "+ model m0\n" in first and "more (--verbosity 2 shows all)" in first
    assert run("catalog", "update", path) == "no changes\n"


def test_the_command_names_a_bad_file_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run("catalog", "update", str(tmp_path / "none.json"))


def test_provider_set_adds_and_changes_an_upstream() -> None:
    assert run("provider", "set", "local", "--base-url", "http://ollama:11434/v1") == (
        "added provider local: openai at http://ollama:11434/v1, no key\n"
    )
    assert run("provider", "set", "local", "--dialect", "anthropic", "--api-key-env", "KEY") == (
        "set provider local: anthropic at http://ollama:11434/v1, key from KEY\n"
    )
    row = Provider.objects.across_tenants().get(name="local")
    assert row.edited_fields == ["api_key_env", "base_url", "dialect"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bad name"], "name"),
        (["p", "--base-url", "ftp://x"], "base_url"),
        (["p", "--base-url", "http://user:secret@x/v1"], "base_url"),
        (["p", "--base-url", "http://x:99999"], "base_url"),
        (["p", "--api-key-env", "A KEY"], "api_key_env"),
    ],
)
def test_provider_set_refuses_what_no_provider_can_have(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run("provider", "set", *arguments)
    assert not Provider.objects.across_tenants().exists()


def test_a_configured_model_may_have_a_price_for_searches() -> None:
    apply_configured_models([{**GLM, "webSearchCostPerThousand": 10}], NOW)
    price = Price.objects.across_tenants().get(model__name=GLM["id"])
    assert (price.service_tier, price.web_search_nano_usd_per_thousand) == ("", 10 * 10**9)


def test_a_tier_that_a_catalog_prices_anew_is_closed_and_opened_alone(tmp_path: Path) -> None:
    def catalog(priority: str) -> Path:
        prices = [{"input": "1", "output": "2"}, {"input": priority, "output": "4", "service_tier": "priority"}]
        provider = {"name": "vendor", "dialect": "openai", "base_url": "https://vendor.example/v1"}
        model = {"name": "tiered", "provider": "vendor", "prices": prices}
        path = tmp_path / "tiers.json"
        path.write_text(json.dumps({"providers": [provider], "models": [model]}), encoding="utf-8")
        return path

    refresh_catalog([catalog("2")], NOW)
    assert refresh_catalog([catalog("2")], LATER).lines == []
    changed = refresh_catalog([catalog("3")], LATER).lines
    assert changed == [
        "~ price tiered: priority: 2.00/4.00 USD per million in/out -> priority: 3.00/4.00 USD per million in/out from "
        f"{LATER:%Y-%m-%d %H:%M}"
    ]
    rows = Price.objects.across_tenants().filter(model__name="tiered")
    assert [(row.service_tier, row.valid_until) for row in rows.order_by("service_tier", "valid_from")] == [
        ("", None), ("priority", LATER), ("priority", None),
    ]  # fmt: skip
