"""The lists of models as the SDKs of Anthropic and Google turn their pages."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from google.genai import errors

from tests.gateway.error_shapes import anthropics, googles
from tests.gateway.sdks.vendors import Vendors
from tests.gateway.served import pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture
def names(vendors: Vendors) -> list[str]:
    """Every model's name, as OpenAI's list has them, which knows no pages."""
    told = [model.id for model in vendors.openai_sdk().models.list()]
    assert len(told) > 60 and len(set(told)) == len(told)  # more than one page of any kind
    return told


def list_anthropics(vendors: Vendors, **query: Any) -> httpx.Response:
    headers = {"x-api-key": vendors.served.key, "anthropic-version": "2023-06-01"}
    return httpx.get(f"{vendors.served.server.url}/v1/models", params=query, headers=headers, timeout=30)


def list_googles(vendors: Vendors, **query: Any) -> httpx.Response:
    headers = {"x-goog-api-key": vendors.served.key}
    return httpx.get(f"{vendors.served.server.url}/v1beta/models", params=query, headers=headers, timeout=30)


@pytest.mark.parametrize("limit", [None, 7, 1000])
def test_anthropics_sdk_turns_the_pages_and_meets_every_model_once(
    vendors: Vendors, names: list[str], limit: int | None
) -> None:
    asked: dict[str, Any] = {} if limit is None else {"limit": limit}
    first = vendors.anthropic_sdk().models.list(**asked)
    assert [model.id for model in first.data] == names[: limit or 20]
    assert first.has_more is (len(names) > (limit or 20))
    assert (first.first_id, first.last_id) == (first.data[0].id, first.data[-1].id)
    assert [model.id for model in vendors.anthropic_sdk().models.list(**asked)] == names


def test_anthropics_sdk_turns_the_pages_backwards_too(vendors: Vendors, names: list[str]) -> None:
    page = vendors.anthropic_sdk().models.list(limit=3, before_id=names[7])
    assert ([model.id for model in page.data], page.has_more) == (names[4:7], True)
    page = page.get_next_page()
    assert ([model.id for model in page.data], page.has_more) == (names[1:4], True)
    page = page.get_next_page()
    assert ([model.id for model in page.data], page.has_more) == (names[:1], False)


def test_a_page_after_the_last_model_or_before_the_first_is_empty(vendors: Vendors, names: list[str]) -> None:
    nothing = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert list_anthropics(vendors, after_id=names[-1]).json() == nothing
    assert list_anthropics(vendors, before_id=names[0]).json() == nothing


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("limit", {"limit": "0"}), ("limit", {"limit": "1001"}), ("limit", {"limit": "-1"}), ("limit", {"limit": "x"}),
        ("limit", {"limit": "2.5"}), ("limit", {"limit": "٣"}), ("limit", {"limit": "9" * 5000}),
        ("after_id", {"after_id": "no-such-model"}), ("before_id", {"before_id": "no-such-model"}),
        ("before_id", {"before_id": "claude", "after_id": "claude"}),
    ],
)  # fmt: skip
def test_what_is_no_page_of_anthropics_is_refused_by_its_name(
    vendors: Vendors, field: str, query: dict[str, str]
) -> None:
    answered = list_anthropics(vendors, **query)
    assert (answered.status_code, anthropics(answered)) == (400, field)
    assert answered.json()["error"]["type"] == "invalid_request_error"


def test_anthropics_models_tell_what_the_catalog_knows(vendors: Vendors) -> None:
    vendors.served.define_model(
        "sized-model", price="1000", context_tokens=200_000, max_output_tokens=64_000, retires_at="2031-02-03T00:00:00Z"
    )
    pause_for_snapshots()
    sdk = vendors.anthropic_sdk()
    sized = sdk.models.retrieve("sized-model")
    assert (sized.max_input_tokens, sized.max_tokens) == (200_000, 64_000)
    assert (sized.type, sized.id, sized.display_name) == ("model", "sized-model", "sized-model")
    assert sized.created_at.timestamp() == 0  # Anthropic's word for a day that is not known
    assert sized.lifecycle == "deprecated" and sized.retires_at is not None
    assert sized.retires_at.isoformat() == "2031-02-03T00:00:00+00:00"
    unknown = sdk.models.retrieve("gpt")
    assert (unknown.max_input_tokens, unknown.max_tokens, unknown.lifecycle) == (None, None, "active")
    assert (unknown.retires_at, unknown.deprecated_at, unknown.line, unknown.capabilities) == (None, None, None, None)


@pytest.mark.parametrize("size", [None, 7, 1000])
def test_googles_sdk_turns_the_pages_and_meets_every_model_once(
    vendors: Vendors, names: list[str], user: str, size: int | None
) -> None:
    wanted = [f"models/{name}" for name in names]
    config: Any = None if size is None else {"page_size": size}
    pager = vendors.googles_sdk(user).models.list(config=config)
    # Its SDK says `pageSize` alone where it is told one.
    assert [model.name for model in pager.page] == wanted[: size or 50]
    assert [model.name for model in pager] == wanted


def test_googles_last_page_has_no_token_and_more_than_a_thousand_is_a_thousand(
    vendors: Vendors, names: list[str]
) -> None:
    whole = list_googles(vendors, pageSize=100_000).json()
    assert [model["name"] for model in whole["models"]] == [f"models/{name}" for name in names]
    assert "nextPageToken" not in whole
    # 0 is Google's word for "as usual", and names may be written with lines between their words.
    first = list_googles(vendors, page_size=0).json()
    assert len(first["models"]) == 50
    second = list_googles(vendors, page_size=2, page_token=first["nextPageToken"]).json()
    assert [model["name"] for model in second["models"]] == [f"models/{name}" for name in names[50:52]]


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("pageSize", {"pageSize": "-1"}), ("pageSize", {"pageSize": "x"}), ("pageSize", {"pageSize": "1.5"}),
        ("pageToken", {"pageToken": "x"}), ("pageToken", {"pageToken": "bm8tc3VjaC1tb2RlbA"}),
        ("pageToken", {"pageToken": "€"}),
    ],
)  # fmt: skip
def test_what_is_no_page_of_googles_is_refused_by_its_name(vendors: Vendors, field: str, query: dict[str, str]) -> None:
    answered = list_googles(vendors, **query)
    assert (answered.status_code, googles(answered)) == (400, field)
    assert answered.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_googles_token_with_nonsense_in_it_is_refused_by_its_name(vendors: Vendors, names: list[str]) -> None:
    token = list_googles(vendors, pageSize=2).json()["nextPageToken"]
    answered = list_googles(vendors, pageToken=f"{token[:2]}!*{token[2:]}")
    assert (answered.status_code, googles(answered)) == (400, "pageToken")


def test_googles_sdk_reads_that_files_are_not_uploaded_here(vendors: Vendors, user: str) -> None:
    with pytest.raises(errors.ClientError) as refused:
        vendors.googles_sdk(user).files.upload(file=io.BytesIO(b"hello"), config={"mime_type": "text/plain"})
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")
    assert "nothing answers at /upload/" in str(refused.value)
