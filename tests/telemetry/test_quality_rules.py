"""What rules find wrong with an answer without reading it: from how it ended, and how much it said."""

from __future__ import annotations

import pytest

from routing.upstreams.anthropic import messages
from routing.upstreams.bedrock import converse
from routing.upstreams.gemini import contents
from routing.upstreams.openai import chat
from telemetry.models import QualityWeights
from telemetry.quality_rules import FAULTS, fault_of, points_for


@pytest.mark.parametrize(
    ("status", "ending", "said_tokens", "fault"),
    [
        ("ok", "stop", 10, ""),
        ("ok", "tool_use", 10, ""),
        ("ok", "STOP", 10, ""),
        ("ok", "length", 10, "cut_off"),
        ("ok", "MAX_TOKENS", 10, "cut_off"),
        ("ok", "incomplete", 10, "cut_off"),
        ("ok", "length", 0, "cut_off"),  # thought until its limit: what it needs is more room
        ("ok", "refusal", 0, "refused"),
        ("ok", "PROHIBITED_CONTENT", 0, "refused"),
        ("ok", "IMAGE_SAFETY", 5, "refused"),
        ("ok", "MALFORMED_FUNCTION_CALL", 9, "malformed"),
        ("ok", "malformed_tool_use", 9, "malformed"),
        ("ok", "abort", 9, "broken_off"),
        ("ok", "end_turn", 0, "empty"),
        ("error", "stop", 10, "broken_off"),
        ("error", None, 0, None),  # a failure, not an answer
        ("aborted", None, 10, None),
        ("interrupted", None, 10, None),
        ("ok", None, 0, None),  # embeddings have no ending
        ("ok", "a new word", 0, None),
    ],
)
def test_each_ending_is_a_fault_or_none_or_tells_nothing(
    status: str, ending: str | None, said_tokens: int, fault: str | None
) -> None:
    assert fault_of(status, ending, said_tokens) == fault


def test_an_answer_that_a_budget_has_shortened_is_not_its_models_fault() -> None:
    assert fault_of("ok", "length", 10, is_clamped=True) is None
    assert fault_of("ok", "refusal", 10, is_clamped=True) == "refused"


def test_every_ending_that_a_dialect_knows_means_the_same_to_the_rules() -> None:
    meant = {"length": {"cut_off", "broken_off", "malformed"}, "content_filter": {"refused"}}
    for reader in (messages, converse, chat):
        for ending, finish in reader._FINISHES.items():
            assert fault_of("ok", ending, 10) in meant.get(finish, {""}), ending
    assert {fault_of("ok", ending, 10) for ending in chat.FAILED} == {"broken_off"}
    assert {fault_of("ok", ending, 10) for ending in converse.FAILED} == {"malformed"}


@pytest.mark.parametrize(
    ("ending", "fault"),
    [
        ("UNEXPECTED_TOOL_CALL", "malformed"),
        ("TOO_MANY_TOOL_CALLS", "malformed"),
        ("MALFORMED_RESPONSE", "malformed"),
        ("MISSING_THOUGHT_SIGNATURE", "broken_off"),
        ("OTHER", "broken_off"),
        ("IMAGE_OTHER", "broken_off"),
        ("NO_IMAGE", "broken_off"),
    ],
)
def test_every_word_by_which_google_says_that_its_model_has_failed_is_a_fault(ending: str, fault: str) -> None:
    assert contents.FAILED.search(ending)
    assert (fault_of("ok", ending, 10), fault_of("ok", ending, 0)) == (fault, fault)


def test_each_fault_has_its_points_and_none_costs_nothing() -> None:
    weights = QualityWeights()
    assert {fault: points_for(fault, weights) for fault in ("", *FAULTS)} == {
        "": 0.0, "broken_off": 4.0, "refused": 5.0, "malformed": 4.0, "cut_off": 2.0, "empty": 5.0,
    }  # fmt: skip
