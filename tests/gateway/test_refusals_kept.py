"""A refusal that was set aside: what else may end the attempts, it goes out; nobody listens for one who has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from budgets.counters.base import CounterStoreDown
from routing.candidates import Candidate
from routing.errors import UpstreamError
from routing.plans import Plan
from routing.upstreams.base import CHAT, GENERATE
from spendhub.errors import SpendHubError
from spendhub.gateway.attempts import Attempts
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import ClientLeft
from spendhub.gateway.holding import never
from spendhub.gateway.looking_ahead import ear_of
from spendhub.gateway.open_call import Origin
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.group_commit import LedgerUnavailable
from spendhub.tenants.attribution import Attribution
from tests.routing.facts import model_facts

REQUEST = CallRequest(wire=CHAT, body={"messages": []}, model="m")


async def left() -> None:
    """Returns at once: the client has left."""


class AfterARefusal(Attempts):
    """Attempts of which the first one was refused, and the second one meets with `then`."""

    def __init__(self, then: BaseException, client_left: Callable[[], Coroutine[Any, Any, None]] = never) -> None:
        origin = Origin(SimpleNamespace(tenant_id=1), Attribution(), "", client_left=client_left)  # type: ignore[arg-type]  # all it needs
        candidates: Any = tuple(Candidate(model_facts(name), None) for name in ("first", "second"))  # type: ignore[arg-type]  # nobody is paid
        super().__init__(origin, REQUEST, Plan(candidates, falls_back_on_refusal=True), CHAT_DIALECT, None, 1)  # type: ignore[arg-type]  # nothing is sent
        self.then, self.tried = then, list[str]()

    async def _try(self, candidate: Candidate) -> Begun:
        self.tried.append(candidate.model.name)
        if candidate.model.name == "second":
            raise self.then
        call: Any = SimpleNamespace(cost_nano_usd=7, earlier_nano_usd=0, beside_nano_usd=0, is_estimated=False)
        self._refusal = Begun(call, None, REQUEST)  # type: ignore[arg-type]  # nobody reads it
        self.failed_nano_usd += 7
        refused = UpstreamError("no")
        refused.refuses_content = True
        raise CallFailed(call, refused, had_begun=True)


@pytest.mark.parametrize("error", [CounterStoreDown("down"), LedgerUnavailable("down"), UpstreamError("nothing")])
def test_a_refusal_goes_out_whatever_the_next_model_meets_with(error: SpendHubError) -> None:
    attempts = AfterARefusal(error)
    begun = asyncio.run(attempts.begin())
    assert attempts.tried == ["first", "second"]
    assert (begun.is_handed_on, begun.call.cost_nano_usd, begun.call.beside_nano_usd) == (True, 7, 0)


def test_a_defect_after_a_refusal_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(AfterARefusal(ZeroDivisionError()).begin())


def test_after_a_refusal_nobody_else_is_asked_for_a_client_that_has_left() -> None:
    attempts = AfterARefusal(UpstreamError("nothing"), left)
    with pytest.raises(ClientLeft):
        asyncio.run(attempts.begin())
    assert attempts.tried == ["first"]


@pytest.mark.parametrize(
    ("is_stream", "choices", "is_listened_to"), [(False, 1, True), (False, 2, True), (True, 1, True), (True, 2, False)]
)
def test_streams_of_several_answers_are_not_listened_to(is_stream: bool, choices: int, is_listened_to: bool) -> None:
    """One of them may begin long after another one was refused, and Google says of each when it has ended."""
    request = CallRequest(wire=GENERATE, body={}, model="m", is_stream=is_stream, choices=choices)
    execution: Any = SimpleNamespace(model=model_facts("m", dialect="gemini"), is_translated=False, another_reader=None)
    call: Any = None
    assert (ear_of(Begun(call, execution, request)) is not None) is is_listened_to
