"""Attribution: six optional keys; what a key may hold, and which of two wins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendhub.tenants.attribution import DIMENSIONS, Attribution, InvalidAttribution, clean_key

keys = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=200).filter(
    lambda text: text.strip() not in ("", "*")
)
attributions = st.dictionaries(st.sampled_from(DIMENSIONS), keys).map(Attribution.parse)


@given(attributions)
def test_what_is_stored_is_read_back(attribution: Attribution) -> None:
    assert Attribution.parse(json.loads(json.dumps(attribution.as_dict()))) == attribution


@given(attributions, attributions)
def test_what_the_call_says_stands_before_the_default_dimension_by_dimension(
    said: Attribution, default: Attribution
) -> None:
    assert said.over(default).as_dict() == default.as_dict() | said.as_dict()


@given(
    st.none() | st.text() | st.integers() | st.lists(st.text()) | st.dictionaries(st.text(), st.text() | st.integers())
)
def test_anything_is_read_or_refused_and_never_crashes(given_value: Any) -> None:
    try:
        read = Attribution.parse(given_value)
    except InvalidAttribution:
        return
    assert all(value == value.strip() and 1 <= len(value) <= 200 for value in read.as_dict().values())


@pytest.mark.parametrize(
    "key", ["", " ", "*", " * ", "a\x00b", "a\nb", "\ud800", "\uffff", "x" * 201, 5, True, None, ["a"]]
)
def test_what_is_no_key_is_refused_naming_the_dimension(key: Any) -> None:
    with pytest.raises(InvalidAttribution) as refused:
        clean_key("user", key)
    assert refused.value.details == {"field": "user"}


def test_null_and_empty_are_the_same_as_absent() -> None:
    assert Attribution.parse({"user": None, "agent": "", "task": " t "}) == Attribution(task="t")
    assert Attribution.parse(None) == Attribution()


def test_a_dimension_we_do_not_have_is_refused_by_name() -> None:
    with pytest.raises(InvalidAttribution) as refused:
        Attribution.parse({"planet": "mars"})
    assert refused.value.details == {"field": "planet"}
