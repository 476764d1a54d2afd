"""How long a vendor asks to be left alone, wherever it says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import UpstreamRefused
from routing.retries import pause_seconds
from routing.upstreams.asked_to_wait import with_retry_after
from tests.fakes.gemini_upstream import FakeGemini
from tests.routing.upstreams.vendors import Spoken, ask_text

GOOGLES = (Path(__file__).parent / "recorded/gemini-error-quota.json").read_bytes()


def google(delay: object) -> bytes:
    return json.dumps({"error": {"code": 429, "details": [{"reason": "QUOTA"}, {"retryDelay": delay}]}}).encode()


def seconds(headers: dict[str, str], body: bytes = b"{}") -> str | None:
    return with_retry_after(headers, body).get("retry-after")


def test_google_says_it_in_the_error_itself() -> None:
    assert seconds({}, GOOGLES) == "35"
    assert seconds({}, b"[" + GOOGLES + b"]") == "35"
    refused = UpstreamRefused("google", 429, with_retry_after({}, GOOGLES), GOOGLES)
    assert pause_seconds(refused, attempt=1) == 35.0
    assert refused.retry_after_seconds == 35


class BusyGemini(FakeGemini):
    """Google, when it says how long it will be busy."""

    def error(self, status: int, message: str) -> dict[str, Any]:
        told = super().error(status, message)
        told["error"]["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.2s"}]
        return told


def test_a_call_that_google_refuses_knows_how_long_to_wait() -> None:
    with BusyGemini() as fake, pytest.raises(UpstreamRefused) as refused:
        ask_text(Spoken("gemini", fake), "[fault:503]")
    assert refused.value.retry_after_seconds == 3


@pytest.mark.parametrize(("given", "expected"), [("1", "1"), ("1500", "2"), ("20000", "20"), ("12.5", "1")])
def test_milliseconds_are_rounded_up_to_seconds(given: str, expected: str) -> None:
    assert seconds({"retry-after-ms": given}) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Tue, 24 Nov 2026 12:00:07 GMT", "7"),
        ("Tue, 24 Nov 2026 11:00:00 GMT", "0"),  # gone by
        ("2.2", "3"),
        ("soon", "soon"),
        ("Tue, 99 Nov 2026 12:00:07 GMT", "Tue, 99 Nov 2026 12:00:07 GMT"),
    ],
)
def test_the_header_may_hold_a_date_or_a_fraction(given: str, expected: str) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert with_retry_after({"retry-after": given}, b"{}", now)["retry-after"] == expected


@given(st.text(max_size=40))
def test_whatever_stands_in_the_header_is_read_or_left(given: str) -> None:
    assert with_retry_after({"retry-after": given}, b"{}").keys() == {"retry-after"}


def test_the_header_that_all_vendors_share_goes_before_all_else() -> None:
    assert seconds({"retry-after": "7", "retry-after-ms": "100"}, GOOGLES) == "7"


@pytest.mark.parametrize("delay", ["soon", "-3s", "3", 3, None, "1e9s", ["3s"], "3 s"])
def test_a_delay_that_is_none_is_not_believed(delay: object) -> None:
    assert seconds({}, google(delay)) is None


@pytest.mark.parametrize("given", ["", "soon", "-5", "1e3", "nan", "inf"])
def test_neither_are_milliseconds_that_are_none(given: str) -> None:
    assert seconds({"retry-after-ms": given}) is None


@pytest.mark.parametrize(
    "body", [b"", b"retryDelay", b'"retryDelay"', b'{"error": "retryDelay"}', b'[[{"retryDelay": 1}]]']
)
def test_what_is_no_error_of_google_asks_for_nothing(body: bytes) -> None:
    assert seconds({}, body) is None


@given(st.binary(max_size=60))
def test_whatever_a_vendor_sends_never_breaks_its_refusal(noise: bytes) -> None:
    seconds({"retry-after-ms": noise.decode("latin-1")}, b'{"error": {"details": [{"retryDelay": "' + noise)
