"""The routes that come with the catalog, over the models that come with it: what one vendor's key alone is worth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import pytest

from routing.catalog import BUILT_IN_FILES, refresh_catalog
from routing.performance import forget_observed
from routing.plans import choose
from routing.snapshot import Catalog, build_catalog
from routing.strategies.base import Option
from routing.wanted import QUALITIES, Wanted

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
VENDORS = (
    "anthropic", "bedrock", "deepseek", "google", "groq", "mistral", "moonshot", "openai", "streamlake", "xai", "zai", "zhipu",
)  # fmt: skip
NEEDS = ((), ("tools",), ("vision",), ("json", "reasoning"), ("audio",))


@pytest.fixture(autouse=True)
def nothing_observed() -> Iterator[None]:
    forget_observed()
    yield
    forget_observed()


@cache
def shipped() -> Catalog:
    """The whole catalog as it is shipped. It never changes, so the first test that asks loads it for all."""
    refresh_catalog(BUILT_IN_FILES, NOW)
    return build_catalog()


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """What is left of the shipped catalog with the key of one vendor alone."""
    return of_vendors(monkeypatch, request.param)


def of_vendors(monkeypatch: pytest.MonkeyPatch, *names: str) -> Catalog:
    whole = shipped()
    models = [model for model in whole.models_of(None) if model.provider.name in names]
    for model in models:
        monkeypatch.setenv(model.provider.api_key_env, "k")
    return Catalog(whole.providers, models, {}, whole.routes)


def ranked(catalog: Catalog, route: str, *needs: str) -> list[Option]:
    """The vendor's models that can do a call of 1000 input and 500 output tokens, in the route's order."""
    wanted = Wanted(
        1, route, NOW, "refuse", input_tokens=1000, max_output_tokens=500, needs=lambda: frozenset(needs)
    )  # fmt: skip
    ranking = choose(catalog, wanted).ranking
    assert ranking is not None
    return [each.option for each in ranking.ranked]


def able(catalog: Catalog, needs: tuple[str, ...]) -> bool:
    return any(set(needs) <= model.capabilities for model in catalog.models_of(None))


@pytest.mark.parametrize("needs", NEEDS, ids="+".join)
def test_smart_is_of_the_best_tier_that_a_vendor_has_for_the_call(vendor: Catalog, needs: tuple[str, ...]) -> None:
    if not able(vendor, needs):
        return
    options = ranked(vendor, "smart", *needs)
    best = max((option.model.quality for option in options), key=QUALITIES.index)
    assert options[0].model.quality == best, options[0].name


def test_cheap_and_auto_are_a_vendors_cheapest_and_fast_the_one_expected_soonest(vendor: Catalog) -> None:
    options = ranked(vendor, "cheap")
    least = min(option.estimate_nano_usd for option in options)
    assert [options[0].estimate_nano_usd, ranked(vendor, "auto")[0].estimate_nano_usd] == [least, least]
    assert ranked(vendor, "fast")[0].p95_ms == min(option.p95_ms for option in options)


@pytest.mark.parametrize(
    ("name", "smart", "cheap"),
    [
        # Vendors none of whose models is premium: all but the cheapest are told apart by nothing but their price.
        ("deepseek", "deepseek-v4-pro", "deepseek-flash"),
        ("groq", "groq/qwen/qwen3.8-27b", "groq/openai/gpt-oss-20b"),
        ("mistral", "mistral-medium-2604", "ministral-3b-2512"),
        ("streamlake", "kat-coder-pro-v2.5", "kat-coder-air-v2.5"),
        ("xai", "grok-4.5", "grok-build-0.1"),
        ("zhipu", "zhipu/glm-5.2", "zhipu/glm-5.3-flash"),
        # Those that have some: the cheapest of the premium ones.
        ("anthropic", "claude-sonnet-5", "claude-haiku-5-5"),
        ("google", "gemini-2.5-pro", "gemini-2.5-flash-lite"),
        ("moonshot", "kimi-k3.1-pro", "kimi-k2.6"),
    ],
)
def test_what_smart_and_cheap_are_with_one_vendors_key(
    name: str, smart: str, cheap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = of_vendors(monkeypatch, name)
    assert (ranked(catalog, "smart")[0].name, ranked(catalog, "cheap")[0].name) == (smart, cheap)


def test_a_model_that_only_hears_is_not_asked_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = of_vendors(monkeypatch, "bedrock", "google", "mistral", "openai")
    assert ranked(catalog, "auto", "audio")[0].name == "mistral.voxtral-mini-3b-2507"
    speaking = ranked(catalog, "auto", "audio", "speech")
    assert {option.model.provider.name for option in speaking} == {"openai"}
    assert speaking[0].name == "gpt-audio-mini"
