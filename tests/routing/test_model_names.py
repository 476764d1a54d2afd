"""What a model may be called: nothing that already means something else, and nothing else while something names it."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from budgets.models import Budget
from routing.model_names import problems_of_names
from routing.models import Model, Provider, Route
from routing.snapshot import CATALOG
from spendhub.tenants.models import Tenant
from tests.factories import ModelFactory, PriceFactory, ProviderFactory, TenantFactory, UserFactory
from tests.routing.asking import acme_with_key, ask

pytestmark = pytest.mark.django_db

USD = 1_000_000_000


@pytest.fixture
def acme(db: None) -> Tenant:
    return acme_with_key()


@pytest.fixture(autouse=True)
def catalog(acme: Tenant) -> None:
    """Shared: the models small (alias tiny) and large, and the routes auto and fast. acme's own: mine (alias my-own)."""
    vendor = ProviderFactory(name="vendor")
    for name, aliases in (("small", ["tiny"]), ("large", [])):
        PriceFactory(model=ModelFactory(name=name, provider=vendor, aliases=aliases))
    PriceFactory(model=ModelFactory(name="mine", provider=vendor, tenant=acme, aliases=["my-own"]), tenant=acme)
    for name in ("auto", "fast"):
        Route.objects.create(tenant=None, name=name)


def problems_of(answer: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = answer["error"]["details"]["fields"]
    return found


def mine(tenant: Tenant) -> Model:
    return Model.objects.for_tenant(tenant).get()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "auto"}, {"name": ["'auto' is always a route, so no call would come to the model"]}),
        ({"name": "fast"}, {"name": ["'fast' is a route, and no call would come to it any more"]}),
        ({"name": "FAST"}, {"name": ["'FAST' is the route 'fast', and no call would come to it any more"]}),
        ({"name": "my-own"}, {"name": ["'my-own' is an alias of the model 'mine'"]}),
        ({"aliases": ["auto"]}, {"aliases": ["'auto' is always a route, so no call would come to the model"]}),
        ({"aliases": ["fast"]}, {"aliases": ["'fast' is a route, and no call would come to it any more"]}),
        ({"aliases": ["ok", "large"]}, {"aliases": ["'large' is the name of another model, which calls for it go to"]}),
        ({"aliases": ["Large"]}, {"aliases": ["'Large' is the name of another model, which calls for it go to"]}),
        ({"aliases": ["my-own"]}, {"aliases": ["'my-own' is an alias of the model 'mine'"]}),
        ({"aliases": ["Vendor/large"]}, {"aliases": ["'Vendor/large' is how the model 'large' is called in full"]}),
        ({"name": "b"}, {"name": ["'vendor/b' is a route, and no call would come to it any more"]}),
        ({"name": "vendor/mine"}, {"name": ["'vendor/mine' is how the model 'mine' is called in full"]}),
    ],
)
def test_a_model_is_not_called_as_something_else_is(
    acme: Tenant, fields: dict[str, Any], told: dict[str, list[str]]
) -> None:
    Route.objects.create(tenant=acme, name="vendor/b")
    body = {"name": "new", "provider": "vendor", "aliases": []} | fields
    status, answer = ask(acme, "post", "models", body)
    assert (status, problems_of(answer)) == (400, told)
    if not {"my-own", "vendor/mine"} & {fields.get("name"), *fields.get("aliases", ())}:  # its own already
        status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", fields)
        assert (status, problems_of(answer)) == (400, told)
    assert Model.objects.for_tenant(acme).count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "large"},  # one's own stands before the shared one
        {"name": "tiny"},  # and so does one's own name before a shared alias
        {"name": "new", "aliases": ["new", "tiny"]},
        {"name": "vendor/large"},  # nor a shared one's name in full
        {"name": "large", "aliases": ["vendor/large"]},  # the shared one that it hides
        {"name": "switched-off"},
        {"name": "rule"},
    ],
)
def test_what_is_free_may_be_a_models_name(acme: Tenant, fields: dict[str, Any]) -> None:
    Route.objects.create(tenant=None, name="switched-off", is_enabled=False)
    Route.objects.create(tenant=acme, name="rule", match={"feature": ["chat"]})
    assert ask(acme, "post", "models", {"provider": "vendor"} | fields)[0] == 201


def test_a_name_that_a_model_has_already_may_stay(acme: Tenant) -> None:
    Route.objects.create(tenant=acme, name="my-own")
    status, answer = ask(
        acme, "patch", f"models/{mine(acme).pk}", {"aliases": ["my-own", "also"], "quality": "premium"}
    )
    assert status == 200, answer


def typed(model: Model, **changed: str) -> dict[str, str]:
    """The model form as a person fills it in."""
    return {
        "provider": str(model.provider_id), "name": model.name, "aliases": "\n".join(model.aliases), "kind": "chat",
        "quality": "standard", "is_enabled": "on", "upstream_name": "", "base_url": "", "api_key_env": "",
        "context_tokens": "", "max_output_tokens": "", "region": "", "retires_at_0": "", "retires_at_1": "",
        "source": "", "checked_on": "",
    } | changed  # fmt: skip


def browser_of(username: str) -> Client:
    browser = Client()
    browser.force_login(UserFactory(username=username))
    return browser


def save(browser: Client, model: Model, **changed: str) -> str:
    """The page that answers a saved form; "" where it was saved."""
    answer = browser.post(f"/admin/routing/model/{model.pk}/change/", typed(model, **changed))
    return "" if answer.status_code == 302 else html.unescape(answer.content.decode())


def test_the_form_tells_it_beside_the_field(acme: Tenant) -> None:
    page = save(browser_of("ada"), mine(acme), name="fast", aliases="large")
    assert "'fast' is a route, and no call would come to it any more." in page
    assert "'large' is the name of another model, which calls for it go to." in page


ROUTES = [
    {"candidate_models": ["mine"]},
    {"candidate_models": ["large"], "fallback": ["mine"]},
    {"options": {"deny": ["vendor/MINE"]}},
    {"match": {"model": ["mine"]}},
    {"strategy": "weighted", "options": {"split": {"mine": 0.5, "large": 0.5}}},
    {"options": {"scored_by": "mine"}},
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_model_that_a_route_names_is_not_renamed(acme: Tenant, route: dict[str, Any]) -> None:
    Route.objects.create(tenant=acme, name="support", **route)
    told = "the route 'support' names it as it is called now: change that first"
    model = mine(acme)
    status, answer = ask(acme, "patch", f"models/{model.pk}", {"name": "renamed"})
    assert status == 400
    assert told in problems_of(answer)["name"][0]
    page = save(browser_of("ada"), model, name="renamed")
    assert "The route 'support' names it as it is called now: change that first" in page
    assert mine(acme).name == "mine"


BUDGETS = [
    {"scope_type": "model", "scope_key": "mine"},
    {"scope_type": "tenant", "downgrade_rules": [{"from": ["mine"], "to": "small"}]},
    {"scope_type": "tenant", "downgrade_rules": [{"from": ["*"], "to": "mine"}]},
]


def make_budget(tenant: Tenant, **values: Any) -> Budget:
    return Budget.objects.create(tenant=tenant, name="Cap", limit_nano_usd=USD, counts_from=timezone.now(), **values)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_model_that_a_budget_names_is_not_renamed(acme: Tenant, budget: dict[str, Any]) -> None:
    row = make_budget(acme, **budget)
    model = mine(acme)
    status, answer = ask(acme, "patch", f"models/{model.pk}", {"name": "renamed"})
    assert status == 400
    assert "the budget 'Cap' names it as it is called now" in problems_of(answer)["name"][0]
    row.archived_at = timezone.now()
    row.save()
    assert ask(acme, "patch", f"models/{model.pk}", {"name": "renamed"})[0] == 200


def test_the_old_name_may_stay_as_an_alias_where_an_alias_will_do(acme: Tenant) -> None:
    Route.objects.create(tenant=acme, name="support", candidate_models=["mine"])
    model = mine(acme)
    assert ask(acme, "patch", f"models/{model.pk}", {"name": "renamed", "aliases": ["mine"]})[0] == 200
    route = CATALOG.refresh().routes.named(acme.pk, "support")
    assert route is not None
    found = CATALOG.current().resolve(acme.pk, route.models[0])
    assert found is not None and found.name == "renamed"


def test_where_the_name_itself_counts_an_alias_will_not_do(acme: Tenant) -> None:
    make_budget(acme, scope_type="model", scope_key="mine")
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"name": "renamed", "aliases": ["mine"]})
    assert (status, list(problems_of(answer))) == (400, ["name"])


@pytest.mark.parametrize("rule", [{"from": ["mine"], "to": "small"}, {"from": ["*"], "to": "mine"}])
def test_both_sides_of_a_downgrade_rule_find_the_model_by_an_alias(acme: Tenant, rule: dict[str, Any]) -> None:
    make_budget(acme, scope_type="tenant", downgrade_rules=[rule])
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"name": "renamed", "aliases": ["mine"]})
    assert status == 200, answer


@pytest.mark.parametrize("rule", [{"from": ["my-own"], "to": "small"}, {"from": ["*"], "to": "my-own"}])
def test_an_alias_in_use_is_not_taken_away(acme: Tenant, rule: dict[str, Any]) -> None:
    make_budget(acme, scope_type="tenant", downgrade_rules=[rule])
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"aliases": []})
    assert (status, list(problems_of(answer))) == (400, ["aliases"])
    assert ask(acme, "patch", f"models/{mine(acme).pk}", {"aliases": ["my-own", "other"]})[0] == 200


def test_ones_own_copy_is_renamed_freely_for_the_shared_model_takes_its_place(acme: Tenant) -> None:
    own = ModelFactory(name="large", provider=Provider.objects.across_tenants().get(), tenant=acme)
    Route.objects.create(tenant=acme, name="support", candidate_models=["large"])
    assert ask(acme, "patch", f"models/{own.pk}", {"name": "large-at-home"})[0] == 200


def test_a_shared_model_is_not_renamed_while_any_account_names_it(acme: Tenant) -> None:
    globex = TenantFactory(slug="globex")
    large = Model.objects.across_tenants().get(name="large")
    Route.objects.create(tenant=globex, name="theirs", candidate_models=["large"])
    UserFactory(username="olga")
    browser = browser_of("olga")
    type(UserFactory(username="olga")).objects.filter(username="olga").update(is_superuser=True)
    assert "The route 'theirs' of Globex names it as it is called now" in save(browser, large, name="huge", tenant="")
    # Who has a model of their own of that name means that one.
    ModelFactory(name="large", provider=large.provider, tenant=globex)
    assert save(browser, large, name="huge", tenant="") == ""


def test_a_shared_alias_stays_while_an_account_calls_its_own_copy_by_it(acme: Tenant) -> None:
    small = Model.objects.across_tenants().get(name="small")
    own = ModelFactory(name="small", provider=small.provider, tenant=acme)
    Route.objects.create(tenant=acme, name="support", candidate_models=["tiny"])
    olga = UserFactory(username="olga")
    type(olga).objects.filter(pk=olga.pk).update(is_superuser=True)
    browser = browser_of("olga")
    assert "The route 'support' of Acme names it as it is called now" in save(browser, small, aliases="", tenant="")
    own.aliases = ["tiny"]
    own.save()
    assert save(browser, small, aliases="", tenant="") == ""


WILDCARD_USES = [
    {"candidate_models": ["llama-3"]},
    {"candidate_models": ["large"], "fallback": ["LLAMA-3"]},
    {"options": {"deny": ["llama-3"]}},
]


@pytest.mark.parametrize("route", WILDCARD_USES)
def test_a_wildcard_is_neither_deleted_nor_narrowed_while_a_name_that_it_catches_is_needed(
    acme: Tenant, route: dict[str, Any]
) -> None:
    llama = ModelFactory(name="llama-*", provider=mine(acme).provider, tenant=acme)
    Route.objects.create(tenant=acme, name="support", **route)
    status, answer = ask(acme, "delete", f"models/{llama.pk}")
    assert (status, answer["error"]["code"]) == (409, "in_use")
    assert answer["error"]["message"].startswith("the route 'support' names it, and would find no other")
    status, answer = ask(acme, "patch", f"models/{llama.pk}", {"name": "llama-2*"})
    assert (status, problems_of(answer)["name"]) == (
        400,
        ["the route 'support' names it as it is called now: change that first"],
    )
    assert ask(acme, "patch", f"models/{llama.pk}", {"name": "lla*"})[0] == 200


def test_a_wildcard_goes_where_another_catches_the_name(acme: Tenant) -> None:
    """Negative control."""
    vendor = mine(acme).provider
    llama = ModelFactory(name="llama-*", provider=vendor, tenant=acme)
    ModelFactory(name="lla*", provider=vendor)
    Route.objects.create(tenant=acme, name="support", candidate_models=["llama-3"], options={"deny": ["vendor/*"]})
    assert ask(acme, "delete", f"models/{llama.pk}")[0] == 204


def test_a_model_sent_elsewhere_keeps_the_full_name_that_is_needed(acme: Tenant) -> None:
    ProviderFactory(name="elsewhere")
    Route.objects.create(tenant=acme, name="support", options={"deny": ["vendor/mine"]})
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"provider": "elsewhere"})
    assert (status, list(problems_of(answer))) == (400, ["provider"])
    Route.objects.for_tenant(acme).delete()
    Route.objects.create(tenant=acme, name="elsewhere/mine")
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"provider": "elsewhere"})
    assert (status, problems_of(answer)) == (
        400,
        {"provider": ["'elsewhere/mine' is a route, and no call would come to it any more"]},
    )


def test_an_edit_that_renames_nothing_reads_no_routes_and_budgets(acme: Tenant, django_assert_num_queries: Any) -> None:
    model = mine(acme)
    vendor = model.provider
    with django_assert_num_queries(0):
        found = problems_of_names(acme.pk, model, name="mine", aliases=["my-own"], provider=vendor)
    assert found == {}


def test_many_uses_are_told_by_their_first(acme: Tenant) -> None:
    for number in range(5):
        Route.objects.create(tenant=acme, name=f"route-{number}", candidate_models=["mine"])
    _, answer = ask(acme, "patch", f"models/{mine(acme).pk}", {"name": "renamed"})
    assert problems_of(answer)["name"][0].startswith(
        "the route 'route-0', the route 'route-1', the route 'route-2' and 2 more name it as it is called now"
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "cheap", "aliases": ["house"]}, "aliases"),
        ({"name": "cheap", "aliases": ["House"]}, "aliases"),
        ({"name": "House"}, "name"),
    ],
)
def test_a_name_that_a_budget_counts_by_does_not_begin_to_count_for_another_model(
    acme: Tenant, fields: dict[str, Any], field: str
) -> None:
    row = make_budget(acme, scope_type="model", scope_key="house")
    word = fields["aliases"][0] if "aliases" in fields else fields["name"]
    told = f"{word!r} is what the budget 'Cap' counts by, which would see no more calls: they would count for {{}}"
    status, answer = ask(acme, "post", "models", {"provider": "vendor"} | fields)
    assert (status, problems_of(answer)) == (400, {field: [told.format(repr(fields["name"]))]})
    fields = {field: fields[field]}
    status, answer = ask(acme, "patch", f"models/{mine(acme).pk}", fields)
    named = fields.get("name", "mine")
    assert (status, problems_of(answer)) == (400, {field: [told.format(repr(named))]})
    row.archived_at = timezone.now()
    row.save()
    assert ask(acme, "patch", f"models/{mine(acme).pk}", fields)[0] == 200


def test_nor_does_the_whole_name_of_a_model_at_its_provider(acme: Tenant) -> None:
    make_budget(acme, scope_type="model", scope_key="vendor/cheap")
    status, answer = ask(acme, "post", "models", {"provider": "vendor", "name": "cheap"})
    assert (status, problems_of(answer)) == (
        400,
        {"name": ["'vendor/cheap' is what the budget 'Cap' counts by, which would see no more calls: they would count "
                  "for 'cheap'"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields", [{"name": "house"}, {"name": "cheap", "aliases": ["other"]}, {"name": "cheap", "aliases": ["small-1"]}]
)
def test_a_name_under_which_calls_go_on_to_count_is_free(acme: Tenant, fields: dict[str, Any]) -> None:
    make_budget(acme, scope_type="model", scope_key="house")
    make_budget(TenantFactory(slug="globex"), scope_type="model", scope_key="small-1")  # another account's
    assert ask(acme, "post", "models", {"provider": "vendor"} | fields)[0] == 201


def test_a_shared_model_takes_no_name_that_any_accounts_budget_counts_by(acme: Tenant) -> None:
    make_budget(TenantFactory(slug="globex"), scope_type="model", scope_key="house")
    large = Model.objects.across_tenants().get(name="large")
    olga = UserFactory(username="olga")
    type(olga).objects.filter(pk=olga.pk).update(is_superuser=True)
    told = "'house' is what the budget 'Cap' of Globex counts by"
    assert told in save(browser_of("olga"), large, aliases="house", tenant="")
