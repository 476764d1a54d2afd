"""Vendors that are known out of the box beside those of the extracted catalog: Kuaishou, Zhipu, Moonshot, Azure."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from routing.catalog import BUILT_IN_FILES, DATA_DIR, read_catalog_file, refresh_catalog, set_provider
from routing.model_facts import ModelFacts
from routing.models import CAPABILITIES
from routing.snapshot import CATALOG
from spendhub.money import parse_usd

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VENDORS: dict[str, Any] = read_catalog_file(DATA_DIR / "vendors.json")
PAGE = Path(__file__).parents[3] / "docs" / "providers.md"


@pytest.fixture
def catalog(db: None) -> dict[str, ModelFacts]:
    refresh_catalog(BUILT_IN_FILES, NOW)
    return {model.name: model for model in CATALOG.current().models_of(None)}


def rates(model: ModelFacts) -> tuple[int, int, int | None]:
    price = model.price_at(NOW)
    assert price is not None
    return price.tiers[-1].input, price.tiers[-1].output, price.tiers[-1].cache_read


def test_every_model_has_words_of_ours_a_size_and_a_source() -> None:
    for model in VENDORS["models"]:
        assert set(model["capabilities"]) <= set(CAPABILITIES), model["name"]
        assert model["context_tokens"] >= model["max_output_tokens"] > 0 and model["source"].startswith("https://")


@pytest.mark.parametrize(
    ("name", "provider", "upstream_name", "usd"),
    [
        ("kat-coder-pro-v2.5", "streamlake", "kat-coder-pro-v2.5", ("0.74", "2.96", "0.15")),
        ("kat-coder-air-v2.5", "streamlake", "kat-coder-air-v2.5", ("0.15", "0.60", "0.03")),
        ("zhipu/glm-5.3", "zhipu", "glm-5.3", ("1.103", "3.862", "0.276")),
        ("zhipu/glm-5.3-flash", "zhipu", "glm-5.3-flash", ("0.11", "0.386", "0.032")),
        ("glm-5.3", "zai", "glm-5.3", ("1.40", "4.40", "0.26")),
        ("kimi-k3.1-pro", "moonshot", "kimi-k3.1-pro", ("2.00", "10.00", "0.20")),
        ("kimi-k3.1-pro-highspeed", "moonshot", "kimi-k3.1-pro-highspeed", ("4.00", "20.00", "0.20")),
    ],
)
def test_a_model_is_known_with_its_vendor_and_price(
    catalog: dict[str, ModelFacts], name: str, provider: str, upstream_name: str, usd: tuple[str, str, str]
) -> None:
    model = catalog[name]
    assert (model.provider.name, model.upstream_name) == (provider, upstream_name)
    assert rates(model) == tuple(parse_usd(each) for each in usd)
    assert {"tools", "streaming"} <= model.capabilities


@pytest.mark.django_db
def test_azure_needs_nothing_but_the_address_of_its_resource() -> None:
    refresh_catalog(BUILT_IN_FILES, NOW)
    azure, is_new = set_provider("azure", base_url="https://acme.openai.azure.com/openai/v1")
    assert not is_new
    assert (azure.auth_header, azure.has_responses, azure.api_key_env) == ("api-key", True, "AZURE_OPENAI_API_KEY")
    refresh_catalog(BUILT_IN_FILES, NOW)
    azure.refresh_from_db()
    assert azure.base_url == "https://acme.openai.azure.com/openai/v1"


def test_the_page_lists_them() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for provider in VENDORS["providers"]:
        line = next(line for line in lines if line.startswith(f"| {provider['name']} |"))
        assert f"`{provider['base_url'] or 'https://RESOURCE.openai.azure.com/openai/v1'}`" in line
        assert f"`{provider['api_key_env']}`" in line and f"| {provider['dialect']}" in line
