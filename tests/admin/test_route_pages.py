"""Routes in the admin: typed as people write them, checked as the API checks them; and the box for trying a request."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from routing.admin.left_out import by_reason
from routing.models import Route
from routing.performance import forget_observed
from routing.requirements import FellOut, Hurdle
from routing.route_options import COMMON
from routing.strategies.registry import STRATEGIES
from spendhub.tenants.models import Change, Tenant
from tests.factories import ModelFactory, PriceFactory, ProviderFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

ADD, LIST, TRY = "/admin/routing/route/add/", "/admin/routing/route/", "/admin/routing/route/try_request/"


@pytest.fixture(autouse=True)
def catalog(db: None) -> Iterator[None]:
    """`small` at 1 and 4 USD, `large` (premium, sees pictures) at 10 and 40, `llama-*`, and the shared route auto."""
    vendor = ProviderFactory(base_url="https://vendor.example/v1")
    PriceFactory(model=ModelFactory(name="small", provider=vendor, aliases=["tiny"], capabilities=["tools"]))
    large = ModelFactory(name="large", provider=vendor, quality="premium", capabilities=["tools", "vision"])
    PriceFactory(model=large, input_nano_usd_per_mtok=10**10, output_nano_usd_per_mtok=4 * 10**10)
    ModelFactory(name="llama-*", provider=vendor)
    Route.objects.create(tenant=None, name="auto")
    forget_observed()
    yield


def typed(**changed: str) -> dict[str, str]:
    """The route form as a person fills it in."""
    return {
        "name": "support", "is_enabled": "on", "strategy": "cost-optimized", "candidate_models": "tiny\nlarge",
        "fallback": "large", "match": "feature: support, chat\nmodel: auto", "priority": "50", "options": "",
    } | changed  # fmt: skip


def tried(**changed: str) -> dict[str, str]:
    """The box for trying a request as a person fills it in."""
    return {"model": "", "request_text": "hello", "attribution": "", "strategy": "", "max_output_tokens": "",
            "max_cost": "", "min_quality": ""} | changed  # fmt: skip


def test_a_route_is_typed_in_lines_and_stored_as_the_api_would(acme: Tenant, browser_of: BrowserOf) -> None:
    answer = browser_of("adam").post(ADD, typed(options='{"timeout_ms": 5000}'))
    assert answer.status_code == 302, answer.context["errors"]
    route = Route.objects.for_tenant(acme).get()
    assert (route.name, route.strategy, route.priority, route.is_enabled) == ("support", "cost-optimized", 50, True)
    assert (route.candidate_models, route.fallback) == (["small", "large"], ["large"])
    assert route.match == {"feature": ["support", "chat"], "model": ["auto"]}
    assert route.options == {"timeout_ms": 5000}
    assert Change.objects.for_tenant(acme).get().action == "create"


def test_the_form_shows_what_it_stored(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    browser.post(ADD, typed(options='{"timeout_ms": 5000}'))
    route = Route.objects.for_tenant(acme).get()
    page = browser.get(f"{LIST}{route.pk}/change/").content.decode()
    for shown in ("feature: support, chat\nmodel: auto", "small\nlarge", "{\n  &quot;timeout_ms&quot;: 5000\n}"):
        assert shown in page
    changed = typed(candidate_models="small\nlarge", options='{"timeout_ms": 5000}')
    assert browser.post(f"{LIST}{route.pk}/change/", changed).status_code == 302
    assert Change.objects.for_tenant(acme).count() == 1  # saved as it was: nothing changed
    assert browser.post(f"{LIST}{route.pk}/change/", changed | {"priority": "60"}).status_code == 302
    assert Change.objects.for_tenant(acme).latest("pk").after == {"priority": 60}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"candidate_models": "gone"}, "No model is called &#x27;gone&#x27;; see Models."),
        (
            {"fallback": "llama-*"},
            "&#x27;llama-*&#x27; is a wildcard, which stands for no model in particular: write a name that it catches.",
        ),
        ({"match": "support"}, "Line 1: &#x27;support&#x27; should look like “feature: support”."),
        (
            {"match": "mood: good"},
            "Line 1: &#x27;mood&#x27; is none of org, user, agent, feature, session, task, model.",
        ),
        ({"match": "feature: a\nfeature: b"}, "feature stands there twice; write its keys in one line, with commas."),
        ({"options": "{"}, "Enter a valid JSON."),
        ({"options": "[1]"}, "Write an object, such as"),
        ({"options": "[" * 5_000}, "Enter a valid JSON."),
        ({"options": '{"deny": NaN}'}, "Enter a valid JSON."),
        ({"options": '{"retries": ' + "9" * 5_000 + "}"}, "Enter a valid JSON."),
        ({"options": '{"deny": ["\\u0000"]}'}, "Enter a valid JSON."),
        ({"options": '{"deny": ["\\u0007"]}'}, "Route: deny must be a list of at most 50 names"),
        (
            {"options": '{"target_ms": 1}'},
            "Cost-optimized has no option &#x27;target_ms&#x27;; it has none of its own; every route has capabilities,",
        ),
        ({"strategy": "weighted"}, "Weighted needs a split such as"),
        ({"strategy": "cheapest"}, "Select a valid choice."),
        (
            {"name": "tiny", "match": ""},
            "&#x27;tiny&#x27; is the model &#x27;small&#x27;, so a call for it never comes",
        ),
        ({"priority": "1001"}, "Ensure this value is less than or equal to 1000."),
    ],
)
def test_what_is_wrong_is_told_in_words_beside_the_field(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    answer = browser_of("adam").post(ADD, typed(**changed))
    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert not Route.objects.for_tenant(acme).exists()


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"priority": "1001", "options": '{"timeout_ms": 5000}'}, '{"timeout_ms": 5000}'),
        ({"options": '{"timeout_ms": '}, '{"timeout_ms": '),
        ({"options": '{"target_ms": 1}'}, '{"target_ms": 1}'),
    ],
)
def test_typed_options_stand_there_still_when_something_is_wrong(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], kept: str
) -> None:
    answer = browser_of("adam").post(ADD, typed(**changed))
    assert answer.status_code == 200
    assert answer.context["adminform"].form["options"].value() == kept
    assert f"{escape(kept)}</textarea>" in answer.content.decode()


def test_each_strategy_is_offered_with_what_it_does(acme: Tenant, browser_of: BrowserOf) -> None:
    page = browser_of("adam").get(ADD).content.decode()
    assert "cost-optimized: The cheapest model that can do it." in page
    assert "judgment-based: Plain questions to cheap workhorses, hard ones to strong judges." in page


def test_roles_shared_rows_and_strangers(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    shared = Route.objects.across_tenants().get(name="auto")
    own = Route.objects.create(tenant=acme, name="acmes-own", candidate_models=["small"])
    assert [browser_of(who).get(ADD).status_code for who in ("ben", "ann", "adam", "ada")] == [403, 403, 200, 200]
    viewer = browser_of("ben")
    for page in (LIST, f"{LIST}{own.pk}/change/", f"{LIST}{shared.pk}/change/", TRY):
        assert viewer.get(page).status_code == 200
    assert viewer.post(f"{LIST}{own.pk}/change/", typed()).status_code == 403
    assert browser_of("adam").post(f"{LIST}{shared.pk}/change/", typed()).status_code == 403
    stranger = browser_of("gil")
    assert stranger.get(f"{LIST}{own.pk}/change/").status_code == 302  # to the overview: there is no such row
    assert "acmes-own" not in stranger.get(LIST).content.decode()


def test_a_shared_route_becomes_ones_own(acme: Tenant, browser_of: BrowserOf) -> None:
    shared = Route.objects.across_tenants().get(name="auto")
    answer = browser_of("adam").post(f"{LIST}{shared.pk}/make_own/")
    assert answer.status_code == 302
    own = Route.objects.for_tenant(acme).get()
    assert (own.name, own.strategy) == ("auto", "cost-optimized")
    assert own.pk != shared.pk
    assert Route.objects.across_tenants().filter(tenant=None).count() == 1


def test_trying_a_request_shows_who_won_and_who_fell_out(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ben")
    page = browser.post(TRY, tried()).content.decode()
    assert "<b>small</b> would answer, by the route <b>auto</b> (cost-optimized): the cheapest" in page
    picture = '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}'
    page = browser.post(TRY, tried(request_text=picture)).content.decode()
    assert "<b>large</b> would answer" in page
    assert 'It lacks vision (1)</summary><p class="sh-muted">small</p>' in page
    page = browser.post(TRY, tried(max_cost="0.000001")).content.decode()
    assert "No model fits this call of &#x27;auto&#x27;" in page
    assert not Change.objects.for_tenant(acme).exists()


@pytest.mark.parametrize(
    "pasted",
    [
        '{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}], '
        '"max_tokens": 9}',
        '{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}',
        '{"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "x"}}]}]}',
    ],
)
def test_a_request_may_be_pasted_as_any_client_writes_it(acme: Tenant, browser_of: BrowserOf, pasted: str) -> None:
    page = browser_of("ben").post(TRY, tried(request_text=pasted)).content.decode()
    assert "<b>large</b> would answer" in page
    assert 'It lacks vision (1)</summary><p class="sh-muted">small</p>' in page


def test_a_field_that_some_vendors_have_no_word_for_is_named_beside_the_models_that_fell_out(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    other = ProviderFactory(name="other", dialect="anthropic", base_url="https://other.example")
    PriceFactory(model=ModelFactory(name="claude", provider=other), input_nano_usd_per_mtok=10**11)
    servers = '{"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "mcp_servers": [{"url": "x"}]}'
    page = browser_of("ben").post(TRY, tried(request_text=servers)).content.decode()
    assert (
        "<b>claude</b> would answer, by the route <b>auto</b> (cost-optimized): a fallback, since mcp_servers cannot be "
        "said to small."
    ) in page
    assert '>mcp_servers cannot be said to it (2)</summary><p class="sh-muted">small, large</p>' in page
    assert "Tried next" not in page


@pytest.mark.parametrize(
    ("reason", "hurdle", "shown"),
    [
        ("messages[0].role must be user, assistant or system", Hurdle.WORDS,
         "messages[0].role must be user, assistant or system"),
        ("seed must be a whole number", Hurdle.WORDS, "seed must be a whole number"),
        ("top_k cannot be said to it", Hurdle.WORDS, "top_k cannot be said to it"),
        ("it is of another dialect: where top_k cannot be said to the first ones, only a few are tried", Hurdle.WORDS,
         "It is of another dialect: where top_k cannot be said to the first ones, only a few are tried"),
        ("embeddings of vendor cannot be asked for yet", Hurdle.WORDS, "Embeddings of vendor cannot be asked for yet"),
        ("it lacks vision", Hurdle.CAPABILITIES, "It lacks vision"),
    ],
)  # fmt: skip
def test_a_reason_begins_as_a_sentence_but_a_field_keeps_its_letters(reason: str, hurdle: Hurdle, shown: str) -> None:
    assert [each.reason for each in by_reason([FellOut("small", reason, hurdle)])] == [shown]


def test_a_field_that_nobody_has_a_word_for_is_named(acme: Tenant, browser_of: BrowserOf) -> None:
    servers = '{"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "mcp_servers": [{"url": "x"}]}'
    told = "mcp_servers cannot be said to a model of another dialect; leave it out, or name another model."
    page = browser_of("ben").post(TRY, tried(request_text=servers)).content.decode()
    assert f'<span class="sh-error">{told}</span>' in page
    assert '>mcp_servers cannot be said to it (2)</summary><p class="sh-muted">small, large</p>' in page
    page = browser_of("ben").post(TRY, tried(request_text=servers, model="small")).content.decode()
    assert f'<p class="sh-error">{told}</p>' in page
    assert "</b> would answer" not in page


def test_a_request_is_tried_as_if_little_of_the_budget_were_left(acme: Tenant, browser_of: BrowserOf) -> None:
    Route.objects.create(tenant=acme, name="auto", strategy="budget-aware")
    page = browser_of("ben").post(TRY, tried(budget_percent_left="90")).content.decode()
    assert "<b>large</b> would answer" in page and "90% of the tightest budget is left" in page
    page = browser_of("ben").post(TRY, tried(budget_percent_left="5")).content.decode()
    assert "<b>small</b> would answer" in page and "5% of the tightest budget is left" in page
    assert "equal to 100" in browser_of("ben").post(TRY, tried(budget_percent_left="101")).content.decode()


def test_a_request_is_tried_with_ones_own_routes_and_rules(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    Route.objects.create(
        tenant=acme, name="dear", candidate_models=["large"], match={"feature": ["support"]}, strategy="pinned"
    )
    page = browser_of("ben").post(TRY, tried(attribution="feature: support")).content.decode()
    assert "<b>large</b> would answer, by the route <b>dear</b> (pinned): pinned to large" in page
    page = browser_of("gil").post(TRY, tried(attribution="feature: support")).content.decode()
    assert "<b>small</b> would answer, by the route <b>auto</b>" in page
    assert "dear" not in page


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "gone"}, "No model is called &#x27;gone&#x27;"),
        ({"attribution": "support"}, "should look like"),
        ({"max_cost": "much"}, "Write an amount in US dollars"),
        ({"strategy": "weighted"}, "Weighted needs a split such as"),
        ({"request_text": '{"messages": 5}'}, "messages must be a list of at least one object."),
        ({"request_text": '{"messages": [{}], "max_tokens": "many"}'}, "max_tokens must be a whole number"),
        (
            {"request_text": '{"messages": [{"content": ' + "[" * 300 + "]" * 300 + "}]}"},
            "nested deeper than 256 levels",
        ),
        (
            {"request_text": '{"messages": [{}], "spendhub": {"colour": 1}}'},
            "spendhub has no field &#x27;colour&#x27;.",
        ),
    ],
)
def test_trying_nonsense_is_answered_in_words(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    answer = browser_of("ben").post(TRY, tried(**changed))
    assert answer.status_code == 200
    assert told in answer.content.decode()


def test_the_box_for_trying_a_request_says_where_one_is(acme: Tenant, browser_of: BrowserOf) -> None:
    for page in (browser_of("ben").get(TRY), browser_of("ben").post(TRY, tried())):
        text = page.content.decode()
        above = re.search(r"<h1.*?</h1>", text, re.DOTALL)
        assert above is not None
        words = " ".join(re.sub(r"<[^>]*>", " ", above[0]).split())
        assert re.fullmatch(r"Routes \W*(\w+ )?Try a request", words), words


def test_the_help_beside_a_routes_options_names_each_that_every_strategy_has(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    page = browser_of("adam").get(ADD).content.decode()
    assert f"For every strategy: {', '.join(COMMON)}." in page


def test_the_help_beside_a_routes_options_shows_those_of_the_chosen_strategy_with_an_example(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    page = html.unescape(browser_of("adam").get(ADD).content.decode())
    for name, strategy in STRATEGIES.items():
        found = re.search(rf'<div x-show="strategy === \'{name}\'">(.*?)</div>', page)
        assert found is not None
        assert all(f"<b>{option}</b>: {words}" in found[1] for option, words in strategy.options_in_words.items())
        assert not strategy.example or f"<code>{strategy.example}</code>" in found[1]
    assert "docs/routing.md" not in page


def rows_of_list(browser: Client) -> list[list[str]]:
    """What the list of routes shows, cell by cell, without markup."""
    page = browser.get(LIST).content.decode()
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.partition("<tbody")[2], re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[" ".join(html.unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in row] for row in cells]


def test_a_shared_route_that_ones_own_replaces_is_marked(
    acme: Tenant, globex: Tenant, operator: Client, browser_of: BrowserOf
) -> None:
    Route.objects.create(tenant=acme, name="auto")

    def owners(browser: Client) -> list[str]:
        return sorted(row[-1] for row in rows_of_list(browser))

    assert owners(browser_of("ben")) == ["Replaced by yours", "Yours"]
    assert owners(browser_of("gil")) == ["Shared"]
    assert owners(operator) == ["Acme", "Shared"]


def test_long_names_and_rules_are_cut_and_said_in_full_where_one_points(acme: Tenant, browser_of: BrowserOf) -> None:
    name, users = "x" * 60, [f"user-number-{number}" for number in range(9)]
    Route.objects.create(tenant=acme, name=name, match={"user": users}, candidate_models=["small"], priority=900)
    (row, *_) = rows_of_list(browser_of("ben"))
    assert (row[0], row[3]) == (f"{'x' * 31}…", "user: user-number-0, user-number-1, user-number…")
    page = html.unescape(browser_of("ben").get(LIST).content.decode())
    assert f'<span title="{name}">' in page and f'<span title="user: {", ".join(users)}">' in page


@pytest.mark.parametrize(
    ("strategy", "options", "shown"),
    [
        ("weighted", {"split": {"small": 0.5, "large": 0.5}}, "large, small"),
        ("pinned", {"model": "large"}, "large"),
        ("judgment-based", {"workhorses": ["small"], "judges": ["large"]}, "small, large"),
        ("judgment-based", {"workhorses": ["small"]}, "small and others that can"),
        ("judgment-based", {}, "All that can"),
        ("cost-optimized", {"deny": ["small"]}, "All that can"),
        ("weighted", {"split": 5}, "All that can"),
    ],
)
def test_the_list_shows_the_models_that_a_routes_options_name(
    acme: Tenant, browser_of: BrowserOf, strategy: str, options: dict[str, Any], shown: str
) -> None:
    Route.objects.create(tenant=acme, name="mine", strategy=strategy, options=options, priority=900)
    assert rows_of_list(browser_of("ben"))[0][2] == shown


def test_trying_a_named_model_without_a_key_says_what_its_call_would_be_told(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    keyless = ProviderFactory(name="far", base_url="https://far.example/v1", api_key_env="KEY_OF_NOBODY")
    PriceFactory(model=ModelFactory(name="distant", provider=keyless))
    page = browser_of("ben").post(TRY, tried(model="distant")).content.decode()
    assert "Provider far has no key under Vendor keys, and the environment variable KEY_OF_NOBODY is empty." in page
    assert "</b> would answer" not in page


@pytest.mark.parametrize("named", ["", "large"])
def test_the_body_names_its_model_unless_another_is_asked_for(acme: Tenant, browser_of: BrowserOf, named: str) -> None:
    body = '{"model": "%s", "messages": [{"role": "user", "content": "hello"}]}'
    browser = browser_of("ben")
    assert 'value="auto"' not in browser.get(TRY).content.decode()
    page = browser.post(TRY, tried(model=named, request_text=body % "large")).content.decode()
    assert "<b>large</b> would answer: named by the client" in page
    page = browser.post(TRY, tried(model="auto", request_text=body % "large")).content.decode()
    assert "<b>small</b> would answer, by the route <b>auto</b>" in page


def test_a_request_that_names_no_model_asks_for_auto(acme: Tenant, browser_of: BrowserOf) -> None:
    for text in ("hello", '{"messages": [{"role": "user", "content": "hello"}]}'):
        page = browser_of("ben").post(TRY, tried(model="", request_text=text)).content.decode()
        assert "<b>small</b> would answer, by the route <b>auto</b>" in page
        assert "read as words" not in page


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"model": ', "it is not valid JSON"),
        (' {"messages": ' + "[" * 5_000, "it is not valid JSON"),
        ("{" * 5_000, "it is not valid JSON"),
        ('[{"role": "user", "content": "hello"}]', "it is not a JSON object"),
    ],
)
def test_what_begins_like_json_and_is_no_body_is_said_to_be_read_as_words(
    acme: Tenant, browser_of: BrowserOf, text: str, why: str
) -> None:
    page = browser_of("ben").post(TRY, tried(request_text=text)).content.decode()
    assert f"The request was read as words, for {why}." in page
    assert "<b>small</b> would answer" in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "hello",
            "Read as words of a chat: about 9 tokens in, no limit on the answer. It needs nothing in particular.",
        ),
        (
            '{"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function", "function": {"name": "f"}}], '
            '"response_format": {"type": "json_object"}, "max_tokens": 200, "n": 2}',
            "Read as a chat completion, as OpenAI’s clients write it: about … tokens in, at most 400 out. It needs json, "
            "several answers at once, tools.",
        ),
        (
            '{"messages": [{"role": "user", "content": "hi"}], "system": "Be brief.", "max_tokens": 1200}',
            "Read as a message, as Anthropic’s clients write it: about … tokens in, at most 1,200 out. It needs nothing "
            "in particular.",
        ),
        (
            '{"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "x"}}]}]}',
            "Read as contents, as Google’s clients write it: about … tokens in, no limit on the answer. It needs vision.",
        ),
        (
            '{"input": "hi", "model": "auto"}',
            "Read as a response, as OpenAI’s clients write it: about … tokens in, no limit on the answer. It needs nothing "
            "in particular.",
        ),
    ],
)
def test_it_is_said_how_a_request_was_read(acme: Tenant, browser_of: BrowserOf, text: str, told: str) -> None:
    page = html.unescape(browser_of("ben").post(TRY, tried(request_text=text)).content.decode())
    found = re.search(r'<p class="sh-muted" id="read-as">(.*?)</p>', page)
    assert found is not None
    assert re.sub(r"about [\d,]+ tokens" if "…" in told else "^$", "about … tokens", found[1]) == told


@pytest.mark.parametrize("text", ["", "  \n", "{}", " { } "])
def test_of_no_request_it_is_said_that_there_is_none(acme: Tenant, browser_of: BrowserOf, text: str) -> None:
    page = browser_of("ben").post(TRY, tried(request_text=text)).content.decode()
    assert "There is no request yet: write its words, or paste its whole body." in page
    assert "</b> would answer" not in page and "Read as" not in page


def test_what_the_request_asks_too_much_of_stands_before_what_cannot_be_called(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    keyless = ProviderFactory(name="far", base_url="https://far.example/v1", api_key_env="KEY_OF_NOBODY")
    PriceFactory(model=ModelFactory(name="a-distant-one", provider=keyless))
    Route.objects.create(tenant=acme, name="mine", candidate_models=["a-distant-one", "small", "large"])
    Route.objects.create(tenant=acme, name="none", candidate_models=["a-distant-one", "small"])
    picture = '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}'
    for name in ("mine", "none"):
        page = browser_of("ben").post(TRY, tried(model=name, request_text=picture)).content.decode()
        assert 0 < page.index("It lacks vision (1)") < page.index("Provider far has no key under Vendor keys")
        assert '<a class="sh-link" href="/admin/routing/credential/">Vendor keys</a>' in page


def test_a_reason_that_differs_in_its_numbers_alone_is_told_once(acme: Tenant, browser_of: BrowserOf) -> None:
    body = '{"max_tokens": 100, "messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}'
    page = browser_of("ben").post(TRY, tried(max_cost="0.000001", request_text=body)).content.decode()
    # 7 tokens in at 1 and 10 USD a million, 100 out at 4 and 40.
    assert '<summary class="sh-near-name">It would cost … USD, above 0.000001 (2)</summary>' in page
    assert ">large (0.00407), small (0.000407)<" in page


def test_a_renamed_experiment_goes_on_with_the_same_draws(acme: Tenant, browser_of: BrowserOf) -> None:
    split = {"split": {"small": 0.5, "large": 0.5}}
    route = Route.objects.create(
        tenant=acme, name="trial", strategy="weighted", candidate_models=["small", "large"], options=split
    )
    form = typed(strategy="weighted", fallback="", match="", options=json.dumps(split))
    answer = browser_of("adam").post(f"{LIST}{route.pk}/change/", form | {"name": "second"}, follow=True)
    told = "The experiment goes on as “trial”: it stands in the options now, so nobody draws another model."
    assert told in answer.content.decode()
    route.refresh_from_db()
    assert (route.name, route.options) == ("second", split | {"experiment": "trial"})
    form["options"] = json.dumps(split | {"experiment": "another"})
    answer = browser_of("adam").post(f"{LIST}{route.pk}/change/", form | {"name": "third"}, follow=True)
    assert "The experiment goes on" not in answer.content.decode()
    route.refresh_from_db()
    assert (route.name, route.options["experiment"]) == ("third", "another")


@pytest.mark.parametrize(("before", "after"), [("pinned", "weighted"), ("weighted", "cost-optimized")])
def test_what_was_or_becomes_no_experiment_keeps_none(
    acme: Tenant, browser_of: BrowserOf, before: str, after: str
) -> None:
    split = {"split": {"small": 1}}
    route = Route.objects.create(
        tenant=acme, name="trial", strategy=before, candidate_models=["small"],
        options=split if before == "weighted" else {},
    )  # fmt: skip
    wanted = split if after == "weighted" else {}
    form = typed(
        name="second", strategy=after, candidate_models="small", fallback="", match="", options=json.dumps(wanted)
    )
    assert browser_of("adam").post(f"{LIST}{route.pk}/change/", form).status_code == 302
    route.refresh_from_db()
    assert route.options == wanted


def told_after(answer: Any) -> list[str]:
    """What the next page says of what was done."""
    return [str(each) for each in answer.context["messages"]]


def test_a_rule_for_a_name_that_nothing_has_is_saved_with_a_word(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    told = told_after(browser.post(ADD, typed(match="feature: support\nmodel: auto, TINY, gpt-9, *"), follow=True))
    assert told[0] == (
        "No model and no route is called “gpt-9”: the rule answers whoever asks for that very name. If you meant "
        "another one, change it."
    )
    assert len(told_after(browser.post(ADD, typed(name="other", match="model: support, large"), follow=True))) == 1


def test_of_two_rules_for_the_same_calls_it_is_said_which_one_wins(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    same = typed(name="first", match="feature: a, b", priority="50")
    assert len(told_after(browser.post(ADD, same, follow=True))) == 1
    told = told_after(browser.post(ADD, same | {"name": "second", "match": "model: auto\nfeature: b, a"}, follow=True))
    assert told[0] == "“first” and “second” are rules for the same calls, of the same priority: “first” is used."
    for other in ({"priority": "51"}, {"match": "feature: a"}, {"is_enabled": ""}):
        typed_so = {name: value for name, value in (same | {"name": "third"} | other).items() if value}
        assert len(told_after(browser.post(ADD, typed_so, follow=True))) == 1
        Route.objects.for_tenant(acme).get(name="third").delete()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "support"}, "You have a route called “support” already."),
        ({"name": "Support"}, "differs in case alone from your route"),
    ],
)
def test_a_name_that_is_taken_is_told_at_the_name(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    Route.objects.create(tenant=acme, name="support")
    answer = browser_of("adam").post(ADD, typed(**changed))
    assert told in str(answer.context["adminform"].form.errors["name"])
    assert "with this Tenant" not in answer.content.decode()
