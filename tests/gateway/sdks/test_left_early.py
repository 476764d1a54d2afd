"""A client leaves in the middle of a stream, whatever it speaks and whatever its model's vendor speaks: what was said until
then is billed, and nothing is held any more."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.fakes.vendor import FakeVendor
from tests.gateway.dialect_calls import DIALECTS, Asked
from tests.gateway.sdks.vendors import Vendors
from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.once]

# The vendor stops half way, which is five or six words, as its format has it, and says nothing more.
TEXT = "[fault:stall] [in:33] [say:aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj]"
# What OpenAI has not said by then is estimated: 26 words and signs, of four letters at most, 4 for the message and 3 for
# the request.
INPUT_TOKENS = 33


@pytest.mark.parametrize("model", ["gpt", "claude", "gemini"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_said_until_the_client_left_is_billed_and_nothing_is_held(
    vendors: Vendors, user: str, dialect: Callable[..., Asked], model: str
) -> None:
    served = vendors.served
    vendor: FakeVendor = {"gpt": vendors.openai, "claude": vendors.anthropic, "gemini": vendors.gemini}[model]
    budget = served.define_budget(user, "1")
    before = vendor.served.unended_streams, vendor.served.unended_words
    asked = dialect(user, model, text=TEXT, stream=True)
    headers = {"authorization": f"Bearer {served.key}"}
    heard = ""
    with httpx.stream(
        "POST", f"{served.server.url}/{asked.path}", headers=headers, json=asked.body, timeout=30
    ) as answered:
        for piece in answered.iter_text():
            heard += piece
            if "eeee" in heard:
                break
    (span,) = served.wait_for_spans(user, 1)
    assert vendor.served.unended_streams == before[0] + 1
    assert (span["status"], span["model"], bool(span["is_estimated"])) == ("aborted", model, True)
    assert 5 <= span["output_tokens"] <= vendor.served.unended_words - before[1] <= 6
    cost = INPUT_TOKENS * INPUT_NANO_USD + span["output_tokens"] * OUTPUT_NANO_USD
    assert span["cost_nano_usd"] == served.ledger(budget) == cost
    wait_until(lambda: served.held(user, model) == "0.00", 10, "the hold to end")
    assert len(served.spans(user)) == 1
