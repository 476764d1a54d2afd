"""Routes over the API: shared ones are seen by all and edited by none, own ones by their tenant alone; dry runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from routing.catalog import BUILT_IN_FILES, refresh_catalog
from routing.models import Model, Price, Provider, Route
from routing.route_options import COMMON
from routing.snapshot import CATALOG
from routing.strategies.registry import STRATEGIES
from spendhub.money import parse_usd
from spendhub.tenants.models import Change, Tenant
from tests.factories import ApiKeyFactory, TenantFactory
from tests.routing.strategies.facts import NOW

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

    def make(self, **fields: Any) -> dict[str, Any]:
        status, row = self.call("post", "routes", fields)
        assert status == 201, row
        made: dict[str, Any] = row
        return made

    def try_call(self, **fields: Any) -> dict[str, Any]:
        status, answer = self.call("post", "routes/dry-run", fields)
        assert status == 200, answer
        told: dict[str, Any] = answer
        return told


@pytest.fixture
def acme() -> Caller:
    return Caller(TenantFactory(slug="acme"))


@pytest.fixture
def globex() -> Caller:
    return Caller(TenantFactory(slug="globex"))


@pytest.fixture(autouse=True)
def catalog() -> None:
    """`small` at 1 and 2 USD, `large` (premium, sees pictures) at 10 and 20, and the shared route auto."""
    vendor = Provider.objects.create(tenant=None, name="vendor", base_url="https://vendor.example/v1")
    for name, usd, facts in (
        ("small", "1", {"capabilities": ["tools"], "aliases": ["tiny"], "quality": "economy"}),
        ("large", "10", {"capabilities": ["tools", "vision"], "quality": "premium"}),
    ):
        model = Model.objects.create(tenant=None, provider=vendor, name=name, **facts)
        rate = parse_usd(usd)
        Price.objects.create(
            tenant=None, model=model, valid_from=NOW.replace(year=2020), input_nano_usd_per_mtok=rate,
            output_nano_usd_per_mtok=2 * rate,
        )  # fmt: skip
    Route.objects.create(tenant=None, name="auto")


def test_a_route_is_made_read_changed_and_deleted_and_each_step_is_recorded(acme: Caller) -> None:
    row = acme.make(
        name="support", models=["tiny", "large"], strategy="latency-optimized", fallback=["large"],
        match={"feature": "support", "model": ["auto", "gpt-5"]}, options={"target_ms": 900, "timeout_ms": 5000},
        priority=7,
    )  # fmt: skip
    expected = {
        "name": "support", "models": ["small", "large"], "strategy": "latency-optimized", "fallback": ["large"],
        "match": {"feature": ["support"], "model": ["auto", "gpt-5"]},
        "options": {"target_ms": 900, "timeout_ms": 5000}, "priority": 7, "is_enabled": True, "is_shared": False,
    }  # fmt: skip
    assert {name: value for name, value in row.items() if name != "id"} == expected
    assert acme.call("get", f"routes/{row['id']}") == (200, row)
    status, changed = acme.call("patch", f"routes/{row['id']}", {"strategy": "cost-optimized", "options": {}})
    assert (status, changed["strategy"], changed["options"]) == (200, "cost-optimized", {})
    assert acme.call("delete", f"routes/{row['id']}") == (204, None)
    assert not Route.objects.for_tenant(acme.tenant).exists()
    changes = Change.objects.for_tenant(acme.tenant).filter(subject_type="routing.route").order_by("pk")
    assert [change.action for change in changes] == ["create", "update", "delete"]


def test_a_new_route_is_in_force_in_the_snapshot(acme: Caller, globex: Caller) -> None:
    acme.make(name="mine", models=["large"])
    routes = CATALOG.refresh().routes
    assert routes.named(acme.tenant.pk, "mine") is not None
    assert routes.named(globex.tenant.pk, "mine") is None


def test_shared_routes_are_seen_by_all_and_changed_by_none(acme: Caller) -> None:
    shared = Route.objects.across_tenants().get(name="auto")
    status, page = acme.call("get", "routes")
    assert (status, [(row["name"], row["is_shared"]) for row in page["results"]]) == (200, [("auto", True)])
    for method, body in (("patch", {"strategy": "pinned"}), ("delete", None)):
        status, answer = acme.call(method, f"routes/{shared.pk}", body)
        assert (status, answer["error"]["code"]) == (403, "shared_row")
    acme.make(name="auto", strategy="pinned", models=["large"])
    assert [row["is_shared"] for row in acme.call("get", "routes?name=auto")[1]["results"]] == [True, False]


def test_globex_never_sees_a_route_of_acmes(acme: Caller, globex: Caller) -> None:
    row = acme.make(name="secret", models=["large"], match={"feature": "secret"})
    assert globex.call("get", f"routes/{row['id']}")[0] == 404
    assert globex.call("patch", f"routes/{row['id']}", {"name": "x"})[0] == 404
    assert globex.call("delete", f"routes/{row['id']}")[0] == 404
    assert [each["name"] for each in globex.call("get", "routes")[1]["results"]] == ["auto"]
    assert globex.try_call(attribution={"feature": "secret"})["route"] == "auto"
    assert acme.try_call(attribution={"feature": "secret"})["route"] == "secret"
    assert globex.call("post", "routes/dry-run", {"model": "secret"})[0] == 404


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"models": ["gone"]}, "models", "no model is called 'gone'; see Models"),
        ({"fallback": ["gone"]}, "fallback", "no model is called 'gone'; see Models"),
        ({"strategy": "cheapest"}, "strategy", "no strategy is called 'cheapest'; there are cost-optimized, latency-optimized, judgment-based, capability-based, budget-aware, weighted, pinned"),
        ({"strategy": "pinned"}, "models", "pinned needs a model: name one as candidate"),
        ({"options": {"target_ms": 5}}, "options", f"cost-optimized has no option 'target_ms'; it has none of its own; every route has {', '.join(COMMON)}"),
        ({"strategy": "pinned", "models": ["small"], "options": {"zeal": 1, "colour": 2, "retries": 1}}, "options", f"pinned has no options 'colour', 'zeal'; it has model; every route has {', '.join(COMMON)}"),
        ({"options": {"max_cost": "much"}}, "options", "route: max_cost must be USD such as \"0.05\", not 'much'"),
        ({"options": {"capabilities": ["magic"]}}, "options", None),
        ({"strategy": "weighted", "options": {"split": {"small": 0.5, "large": 0.52}}}, "options", "Traffic split must sum to 1.0, got 1.02"),
        ({"strategy": "weighted", "options": {"split": {"tiny": 1}}}, "options", "no catalog model has the name 'tiny'"),
        ({"strategy": "judgment-based", "options": {"judges": ["gone"]}}, "options", "no catalog model has the name 'gone'"),
        ({"strategy": "pinned", "models": ["large"], "options": {"model": "small"}}, "options", "pinned: 'small' is no candidate of the route"),
        ({"strategy": "judgment-based", "models": ["small"], "options": {"judges": ["large"]}}, "options", "judgment-based: 'large' is no candidate of the route"),
        ({"strategy": "judgment-based", "models": ["large"], "options": {"workhorses": ["small"]}}, "options", "judgment-based: 'small' is no candidate of the route"),
        ({"name": "large"}, "name", "'large' is a model, so a call for it never comes to the route: give the route another name, or a match"),
        ({"name": "Tiny"}, "name", "'Tiny' is the model 'small', so a call for it never comes to the route: give the route another name, or a match"),
        ({"options": {"deny": ["small", "smal"]}}, "options", "deny: 'smal' names no model: neither by name or alias, nor as provider/name or provider/*"),
        ({"options": {"deny": ["vendr/*"]}}, "options", "deny: 'vendr/*' names no model: neither by name or alias, nor as provider/name or provider/*"),
        ({"options": {"scored_by": "gone"}}, "options", "no catalog model has the name 'gone'"),
        ({"options": {"scored_by": "large", "scored_share": 1.5}}, "options", "route: scored_share must be a number from 0 to 1, not '1.5'"),
        ({"options": {"scored_by": ["large"]}}, "options", None),
        ({"options": {"scored_share": 0.1}}, "options", "route: scored_by must name the model that scores that share, not ''"),
        ({"match": {"mood": "good"}}, "match", "'mood' is none of org, user, agent, feature, session, task, model"),
        ({"match": {"feature": []}}, "match", "feature: must be a key, or a list of 1 to 50 keys"),
        ({"match": {"feature": ["\u0000"]}}, None, None),
        ({"match": [1]}, "match", "must be an object"),
        ({"options": "none"}, "options", "must be an object"),
        ({"models": "small"}, "models", "a list of at most 50 words"),
        ({"options": {"deny": ["vendor/*"]}, "models": ["small", "large"]}, "options", "deny: all models of the route are on it, so none of them could ever answer"),
        ({"options": {"deny": ["TINY"]}, "models": ["small"]}, "options", "deny: all models of the route are on it, so none of them could ever answer"),
        ({"strategy": "pinned", "models": ["small", "large"]}, "models", 'pinned is one model: name one, or say in the options which of them, as in {"model": "small"}'),
        ({"name": "AUTO"}, "name", "'AUTO' differs in case alone from the shared route 'auto': take another name, or that one to the letter"),
        ({"priority": 1001}, "priority", None),
        ({"name": "two words"}, "name", None),
        ({"colour": "red"}, "colour", "there is no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_route_is_told_by_field(
    acme: Caller, fields: dict[str, Any], field: str | None, told: str | None
) -> None:
    status, answer = acme.call("post", "routes", {"name": "mine", **fields})
    assert status == 400
    if field is not None:
        problems = answer["error"]["details"]["fields"]
        assert list(problems) == [field]
        assert told is None or problems[field] == [told]
    assert not Route.objects.for_tenant(acme.tenant).exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"fallback": ["small", "Vectors"]}, {"fallback": ["'vectors' is a model for embedding, and a fallback answers chats alone"]}),
        ({"options": {"scored_by": "vectors"}}, {"options": ["'vectors' is a model for embedding, which scores no answers"]}),
        (
            {"strategy": "judgment-based", "options": {"reviewers": ["large", "vectors"]}},
            {"options": ["'vectors' is a model for embedding, which scores no answers"]},
        ),
    ],
)  # fmt: skip
def test_what_only_chats_come_to_is_no_model_that_embeds(
    acme: Caller, fields: dict[str, Any], told: dict[str, list[str]]
) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    Model.objects.create(tenant=None, provider=vendor, name="vectors", kind="embedding")
    status, answer = acme.call("post", "routes", {"name": "mine", **fields})
    assert (status, answer["error"]["details"]["fields"]) == (400, told)
    acme.make(name="embed", strategy="pinned", models=["vectors"])


def test_a_route_may_deny_some_of_its_models_and_pin_one_of_several(acme: Caller) -> None:
    acme.make(name="mine", models=["small", "large"], options={"deny": ["tiny"]})
    acme.make(name="pin", strategy="pinned", models=["small", "large"], options={"model": "large"})


def test_two_routes_of_an_account_do_not_differ_in_case_alone(acme: Caller, globex: Caller) -> None:
    globex.make(name="QUICK")
    row = acme.make(name="quick")
    status, answer = acme.call("post", "routes", {"name": "Quick"})
    told = "'Quick' differs in case alone from your route 'quick': take another name, or that one to the letter"
    assert (status, answer["error"]["details"]["fields"]) == (400, {"name": [told]})
    Route.objects.create(tenant=acme.tenant, name="QUICK")  # from before this was refused
    assert acme.call("patch", f"routes/{row['id']}", {"name": "quick", "priority": 7})[0] == 200
    Route.objects.for_tenant(acme.tenant).get(name="QUICK").delete()
    assert acme.call("patch", f"routes/{row['id']}", {"name": "Quick"})[0] == 200
    assert acme.try_call(model="qUIck")["route"] == "Quick"


def test_a_route_may_deny_models_by_each_name_that_they_have(acme: Caller) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    Model.objects.create(tenant=None, provider=vendor, name="llama-*")
    by_each = ["small", "Tiny", "vendor/LARGE", "Vendor/*", "llama-4-scout", "vendor/llama-4-scout"]
    assert acme.make(name="mine", options={"deny": by_each})["options"] == {"deny": by_each}


def test_of_a_model_that_nobody_has_that_is_told_and_not_that_the_strategy_has_none(acme: Caller) -> None:
    for strategy in ("pinned", "cost-optimized"):
        status, answer = acme.call("post", "routes", {"name": "mine", "strategy": strategy, "models": ["gone"]})
        told = {"models": ["no model is called 'gone'; see Models"]}
        assert (status, answer["error"]["details"]["fields"]) == (400, told)


WILDCARD = "{!r} is a wildcard, which stands for no model in particular: write a name that it catches"


@pytest.mark.parametrize("named", ["llama-*", "LLAMA-*", "vendor/llama-*", "any-llama", "llama-4*"])
def test_a_route_names_no_wildcard_but_what_one_catches(acme: Caller, named: str) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    Model.objects.create(tenant=None, provider=vendor, name="llama-*", aliases=["any-llama"])
    for field in ("models", "fallback"):
        status, answer = acme.call("post", "routes", {"name": "mine", field: [named]})
        assert (status, answer["error"]["details"]["fields"]) == (400, {field: [WILDCARD.format(named)]})
    for strategy, options in (("cost-optimized", {"scored_by": "llama-*"}), ("pinned", {"model": "llama-*"})):
        status, answer = acme.call("post", "routes", {"name": "mine", "strategy": strategy, "options": options})
        assert (status, answer["error"]["details"]["fields"]) == (400, {"options": [WILDCARD.format("llama-*")]})
    assert not Route.objects.for_tenant(acme.tenant).exists()
    row = acme.make(name="mine", models=["llama-4"], fallback=["llama-3"])
    assert (row["models"], row["fallback"]) == (["llama-4"], ["llama-3"])


def test_a_rule_may_have_a_models_name_and_auto_is_a_route_whatever_models_are_called(acme: Caller) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    Model.objects.create(tenant=None, provider=vendor, name="auto")
    Model.objects.create(tenant=None, provider=vendor, name="llama-*")
    for fields in ({"name": "small", "match": {"model": "small"}}, {"name": "auto"}, {"name": "llama-4"}):
        acme.make(**fields)
    rule = Route.objects.for_tenant(acme.tenant).get(name="small")
    status, answer = acme.call("patch", f"routes/{rule.pk}", {"match": {}})
    assert (status, list(answer["error"]["details"]["fields"])) == (400, ["name"])


def test_reviewers_scorers_and_preferred_models_need_not_be_candidates(acme: Caller) -> None:
    for number, strategy in enumerate(set(STRATEGIES) - {"weighted"}):
        options = {"scored_by": "large", "scored_share": 0}
        assert acme.make(name=f"r{number}", strategy=strategy, models=["small"], options=options)["options"] == options
    pools = {"workhorses": ["small"], "reviewers": ["large"]}
    acme.make(name="careful", strategy="judgment-based", models=["small"], options=pools)
    acme.make(name="able", strategy="capability-based", models=["small"], options={"default_models": ["large"]})


def test_a_name_is_ones_own_only_once(acme: Caller, globex: Caller) -> None:
    acme.make(name="mine")
    assert acme.call("post", "routes", {"name": "mine"})[0] == 409
    globex.make(name="mine")


def test_reading_needs_read_and_writing_manage(acme: Caller) -> None:
    reader, spender = Caller(acme.tenant, permissions=("read",)), Caller(acme.tenant, permissions=("spend",))
    assert reader.call("get", "routes")[0] == 200
    assert reader.call("post", "routes", {"name": "mine"})[0] == 403
    assert reader.call("post", "routes/dry-run", {})[0] == 200
    assert spender.call("get", "routes")[0] == 403
    assert spender.call("post", "routes/dry-run", {})[0] == 403


def test_a_dry_run_says_who_won_why_and_who_fell_out(acme: Caller) -> None:
    told = acme.try_call(prompt="hello", input_tokens=1000, max_output_tokens=500, capabilities=["vision"])
    assert told == {
        "chosen": "large", "route": "auto", "strategy": "cost-optimized", "confidence": 0.9, "measure": "minus USD",
        "reason": "the cheapest of those that can do it",
        "candidates": [
            {
                "model": "large", "provider": "vendor", "role": "chosen", "estimated_cost": "0.02", "score": -0.02,
                "quality": 4.5, "p95_ms": 3000, "error_rate": 0.0, "calls": 0,
            }
        ],
        "fell_out": [{"model": "small", "reason": "it lacks vision"}],
    }  # fmt: skip


def test_a_dry_run_reads_what_a_chat_completion_needs(acme: Caller) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = {
        "model": "auto", "max_tokens": 10, "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}],
    }  # fmt: skip
    told = acme.try_call(body=body)
    assert (told["chosen"], told["fell_out"]) == ("large", [{"model": "small", "reason": "it lacks vision"}])
    told = acme.try_call(messages=[{"role": "user", "content": "hello"}])
    assert [(line["model"], line["role"]) for line in told["candidates"]] == [
        ("small", "chosen"),
        ("large", "fallback"),
    ]


def test_a_dry_run_shows_who_stands_by_when_no_budget_has_room(acme: Caller) -> None:
    acme.make(name="best", strategy="budget-aware", fallback=["large"])
    told = acme.try_call(model="best", budget_share_left=0.9)
    assert [(line["model"], line["role"]) for line in told["candidates"]] == [("large", "chosen"), ("small", "cheaper")]
    told = acme.try_call(model="best", budget_share_left=0.05)
    assert [(line["model"], line["role"]) for line in told["candidates"]] == [
        ("small", "chosen"),
        ("large", "fallback"),
    ]


def test_a_dry_run_of_a_named_model_and_of_what_nothing_fits(acme: Caller) -> None:
    told = acme.try_call(model="tiny", prompt="hello")
    assert (told["chosen"], told["route"], told["strategy"], told["reason"]) == (
        "small",
        "",
        "pinned",
        "named by the client",
    )
    told = acme.try_call(region="eu")
    assert (told["chosen"], told["strategy"], told["candidates"]) == (None, None, [])
    assert told["reason"] == (
        "no model fits this call of 'auto': large comes nearest, but it runs in a region nobody has noted, not in eu"
    )
    assert {each["model"] for each in told["fell_out"]} == {"small", "large"}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "gone"}, 404, "unknown_model"),
        ({"strategy": "cheapest"}, 400, "unknown_strategy"),
        ({"strategy": "weighted"}, 400, "invalid_route"),
        ({"attribution": {"mood": "good"}}, 400, "invalid"),
        ({"messages": "hello"}, 400, "invalid"),
        ({"max_cost": "-1"}, 400, "invalid"),
        ({"confidence_threshold": 2}, 400, "invalid"),
        ({"capabilities": ["magic"]}, 400, "invalid"),
    ],
)
def test_a_dry_run_that_cannot_be_is_refused(acme: Caller, fields: dict[str, Any], status: int, code: str) -> None:
    answer = acme.call("post", "routes/dry-run", fields)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)


def test_the_built_in_routes_come_with_the_catalog_and_edits_survive_a_refresh(acme: Caller) -> None:
    lines = refresh_catalog([BUILT_IN_FILES[-1]], NOW).lines
    assert lines == ["+ route cheap", "+ route fast", "+ route smart"]
    assert refresh_catalog([BUILT_IN_FILES[-1]], NOW).lines == []
    rows = Route.objects.across_tenants().filter(tenant=None).order_by("name")
    assert [(row.name, row.strategy) for row in rows] == [
        ("auto", "cost-optimized"), ("cheap", "cost-optimized"), ("fast", "latency-optimized"),
        ("smart", "judgment-based"),
    ]  # fmt: skip
    smart = Route.objects.across_tenants().get(name="smart")
    smart.strategy, smart.options, smart.edited_fields = "pinned", {"model": "large"}, ["strategy", "options"]
    smart.save()
    assert refresh_catalog([BUILT_IN_FILES[-1]], NOW).lines == []
    assert acme.try_call(model="smart")["chosen"] == "large"
    assert acme.try_call(model="cheap")["chosen"] == "small"


def test_smart_is_the_best_and_fast_the_soonest(acme: Caller) -> None:
    refresh_catalog([BUILT_IN_FILES[-1]], NOW)
    assert acme.try_call(model="smart", prompt="hi")["chosen"] == "large"
    assert acme.try_call(model="fast", prompt="hi")["chosen"] == "small"


SPLIT = {"split": {"small": 0.5, "large": 0.5}}


@pytest.mark.parametrize("method", ["patch", "put"])
def test_a_renamed_experiment_keeps_its_draws_whether_or_not_its_options_are_said_again(
    acme: Caller, method: str
) -> None:
    row = acme.make(name="trial", strategy="weighted", models=["small", "large"], options=SPLIT)
    said = {"name": "second"} if method == "patch" else row | {"name": "second"}
    status, row = acme.call(method, f"routes/{row['id']}", said)
    assert (status, row["options"]) == (200, SPLIT | {"experiment": "trial"})


def test_a_renamed_experiment_begins_anew_where_its_options_say_so(acme: Caller) -> None:
    row = acme.make(name="trial", strategy="weighted", models=["small", "large"], options=SPLIT)
    anew = SPLIT | {"experiment": "second"}
    status, row = acme.call("patch", f"routes/{row['id']}", {"name": "second", "options": anew})
    assert (status, row["options"]) == (200, anew)
    # Or where they no longer name the one that they named.
    status, row = acme.call("patch", f"routes/{row['id']}", {"name": "third", "options": SPLIT})
    assert (status, row["options"]) == (200, SPLIT)
