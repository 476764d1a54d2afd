"""What the catalog says of providers arrives in their rows, and in the dialect that calls are made in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from routing.catalog import BUILT_IN_FILES, DATA_DIR, read_catalog_file, refresh_catalog
from routing.data.extract_catalog import PROVIDERS
from routing.errors import InvalidCatalog
from routing.models import Provider
from routing.upstreams.registry import DIALECTS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def refresh(tmp_path: Path, **facts: Any) -> Provider:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps({"providers": [{"name": "azure", "dialect": "openai", **facts}], "models": []}))
    refresh_catalog([path], NOW)
    return Provider.objects.across_tenants().get(name="azure")


@pytest.mark.django_db
def test_a_refresh_carries_how_the_key_is_sent_and_whether_responses_are_spoken(tmp_path: Path) -> None:
    first = refresh(tmp_path)
    assert (first.auth_header, first.has_responses) == ("authorization", False)
    changed = refresh(tmp_path, auth_header="api-key", has_responses=True)
    assert (changed.auth_header, changed.has_responses) == ("api-key", True)


@pytest.mark.django_db
@pytest.mark.parametrize("facts", [{"has_responses": "yes"}, {"auth_header": 7}, {"base_url": None}])
def test_a_fact_of_the_wrong_kind_is_refused_by_its_name(tmp_path: Path, facts: dict[str, Any]) -> None:
    with pytest.raises(InvalidCatalog, match=f"azure.*{next(iter(facts))}"):
        refresh(tmp_path, **facts)


def test_the_catalog_has_the_providers_that_a_new_extract_would_write() -> None:
    assert read_catalog_file(DATA_DIR / "catalog.json")["providers"] == PROVIDERS


def test_every_provider_of_the_catalog_can_be_called() -> None:
    for path in BUILT_IN_FILES:
        assert {provider["dialect"] for provider in read_catalog_file(path).get("providers", [])} <= set(DIALECTS)


def test_the_catalogs_providers_are_those_of_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
    for provider in PROVIDERS:
        line = next(line for line in page.splitlines() if line.startswith(f"| {provider['name']} |"))
        assert f"`{provider['base_url']}`" in line and f"`{provider['api_key_env']}`" in line
        assert f"| {provider['dialect']}" in line
        assert ("with Responses" in line) == provider.get("has_responses", False)
