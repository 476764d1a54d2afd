"""Which failures are repeated at the same model, which lead to another, and how long the pause is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import hooks
from routing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from routing.retries import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    is_content_refusal,
    is_failure,
    may_fall_back,
    may_repeat,
    pause_seconds,
)
from routing.upstreams.vendor_errors import raise_for_error, raise_for_error_answer


def refused(status: int, body: bytes = b"{}", **headers: str) -> UpstreamRefused:
    return UpstreamRefused("vendor", status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


FILTERED = b'{"error": {"code": "content_filter", "message": "..."}}'

CASES: list[tuple[UpstreamError, bool, bool, bool]] = [
    # failure, the same model again, another model, counts against the vendor's health
    (UpstreamError("no connection"), True, True, True),
    (UpstreamTimeout("too slow"), False, True, True),
    (refused(400), False, False, False),
    (refused(401), False, True, False),
    (refused(403), False, False, False),
    (refused(404), False, True, False),
    (refused(408), True, True, False),
    (refused(409), True, True, False),
    (refused(413), False, False, False),
    (refused(422), False, False, False),
    (refused(424), True, True, False),
    (refused(425), True, True, False),
    (refused(429), True, True, False),
    (refused(500), True, True, True),
    (refused(501), False, False, True),
    (refused(502), True, True, True),
    (refused(503), True, True, True),
    (refused(504), True, True, True),
    (refused(529), True, True, True),
    (refused(302), False, False, False),
]


@pytest.mark.parametrize(("error", "repeats", "falls_back", "counts"), CASES, ids=lambda case: str(case)[:24])
def test_each_failure_leads_where_the_table_says(
    error: UpstreamError, repeats: bool, falls_back: bool, counts: bool
) -> None:
    assert may_repeat(error) is repeats
    assert may_fall_back(error, on_content_refusal=False) is falls_back
    assert is_failure(error) is counts


def test_a_checker_of_ones_own_says_first_what_is_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(error: UpstreamError) -> bool | None:
        raise RuntimeError("a stranger's defect")

    def quota_is_no_traffic(error: UpstreamError) -> bool | None:
        if isinstance(error, UpstreamRefused):
            return False if b"quota" in error.body else None
        return True

    monkeypatch.setattr(
        hooks, "MAY_REPEAT", [broken, quota_is_no_traffic, lambda error: True if "501" in str(error) else None]
    )
    assert not may_repeat(refused(429, b'{"error": {"code": "insufficient_quota"}}'))
    assert may_repeat(UpstreamTimeout("too slow"))
    assert may_repeat(refused(501))
    # Of these nobody has anything to say, so the table holds.
    assert may_repeat(refused(429))
    assert not may_repeat(refused(400))
    assert "a stranger's defect" in caplog.text


def test_what_is_repeated_may_also_fall_back() -> None:
    """Whoever may ask again at the same vendor loses nothing by asking another."""
    for status in range(300, 600):
        error = refused(status)
        assert not may_repeat(error) or may_fall_back(error, on_content_refusal=False)


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "body",
    [
        FILTERED,
        b'{"error": {"code": "content_policy_violation"}}',
        b'{"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}',
        b'{"promptFeedback": {"blockReason": "SAFETY"}}',
    ],
)
def test_a_refusal_of_content_falls_back_only_where_the_tenant_says_so(status: int, body: bytes) -> None:
    error = refused(status, body)
    assert is_content_refusal(error)
    assert not may_repeat(error)
    assert may_fall_back(error, on_content_refusal=True)
    assert not may_fall_back(error, on_content_refusal=False)


def test_so_does_one_that_is_told_in_a_stream() -> None:
    for tell in (raise_for_error, raise_for_error_answer):
        with pytest.raises(UpstreamError) as told:
            tell({"error": {"code": "content_filter", "message": "not this"}})
        assert may_fall_back(told.value, on_content_refusal=True)
        assert not may_fall_back(told.value, on_content_refusal=False)
        with pytest.raises(UpstreamError) as told:
            tell({"error": {"code": "overloaded", "message": "content_filter and safety are overloaded"}})
        assert may_fall_back(told.value, on_content_refusal=False)


@pytest.mark.parametrize(("status", "body"), [(400, b"{}"), (500, FILTERED), (404, FILTERED)])
def test_anything_else_is_no_refusal_of_content(status: int, body: bytes) -> None:
    assert not is_content_refusal(refused(status, body))


@pytest.mark.parametrize(("header", "expected"), [("7", 7.0), ("0", 1.0), ("999999", 86_400.0), ("soon", 1.0)])
def test_the_pause_is_the_one_that_the_vendor_asks_for(header: str, expected: float) -> None:
    assert pause_seconds(refused(429, retry_after=header), attempt=1) == expected


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"), [(1, 0.125, 0.25), (2, 0.25, 0.5), (3, 0.5, 1.0), (6, 4.0, 8.0), (50, 4.0, 8.0)]
)
def test_without_a_word_from_the_vendor_it_doubles_up_to_a_bound(attempt: int, shortest: float, longest: float) -> None:
    assert pause_seconds(UpstreamError("broken"), attempt, lambda: 0.0) == shortest
    assert pause_seconds(UpstreamError("broken"), attempt, lambda: 1.0) == longest


@given(
    attempt=st.integers(1, 1_000),
    dice=st.floats(0, 1, exclude_max=True),
    error=st.sampled_from([UpstreamError("x"), refused(500), refused(429)]),
)
def test_a_pause_is_never_too_short_to_help_nor_too_long_to_bear(
    attempt: int, dice: float, error: UpstreamError
) -> None:
    pause = pause_seconds(error, attempt, lambda: dice)
    assert FIRST_PAUSE_SECONDS / 2 <= pause <= LONGEST_PAUSE_SECONDS
    assert pause <= pause_seconds(error, attempt + 1, lambda: dice)


@given(st.text(max_size=30))
def test_whatever_a_vendor_writes_in_its_header_is_bounded(header: str) -> None:
    assert 1 <= pause_seconds(refused(429, retry_after=header), 1) <= 86_400
