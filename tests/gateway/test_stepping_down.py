"""A policy's cheaper models step in one after the other, as long as the call has time and somebody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from routing.candidates import Candidate
from routing.key_choice import NONE_AVOIDED
from routing.model_facts import ModelIdentity
from routing.plans import Plan
from routing.upstreams.base import CHAT
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import ClientLeft
from spendhub.gateway.holding import never
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.opening import MAX_DOWNGRADES, Opened, Opening
from spendhub.tenants.attribution import Attribution
from tests.budgets.facts import budget, call, decision
from tests.routing.facts import model_facts

REQUEST = CallRequest(wire=CHAT, body={"messages": []}, model="m0")
DEGRADED = decision(call("1"), (budget("user:ada", rules=[(["*"], "haiku")]), "8.5", "0"))


def candidate(name: str) -> Candidate:
    return Candidate(model_facts(name), None)  # type: ignore[arg-type]  # nobody is paid


class Steps(Opening):
    """Opens `m0`, which gives way to `m1`, and that to `m2`, and so on. `refused` have no room in budgets of their own,
    which is known once `is_refused` returns. `held` is whose money is held, `ended` whose breaker was told nothing."""

    def __init__(
        self, *, deadline: float | None = None, client_left: Callable[[], Coroutine[Any, Any, None]] = never,
        refused: str = "", is_refused: Callable[[], Coroutine[Any, Any, None]] = never,
    ) -> None:  # fmt: skip
        origin = Origin(SimpleNamespace(tenant_id=1), Attribution(), "", client_left=client_left)  # type: ignore[arg-type]  # all it needs
        plan = Plan((candidate("m0"),))
        super().__init__(origin, REQUEST, plan, CHAT_DIALECT, 1, may_step_down=True, deadline=deadline)
        self.refused, self.is_refused = refused, is_refused
        self.opened, self.held, self.ended = list[str](), list[str](), list[str]()

    async def _open(
        self, candidate: Candidate, avoided: frozenset[UUID], in_place_of_chosen: str, *, steps_in: bool = False
    ) -> Opened:
        name = candidate.model.name
        self.opened.append(name)
        if name == self.refused:
            await self.is_refused()
            raise BudgetExceeded(DEGRADED)
        held = await self._hold(candidate, in_place_of_chosen, steps_in=steps_in)
        trial: Any = SimpleNamespace(tells_nothing=lambda: self.ended.append(name))
        key: Any = None
        return Opened(candidate, held, key, trial, in_place_of_chosen, steps_in)

    async def _hold(self, candidate: Candidate, in_place_of_chosen: str, *, steps_in: bool) -> OpenCall:
        name = candidate.model.name
        self.held.append(name)

        async def give_back() -> None:
            self.held.remove(name)

        held: Any = SimpleNamespace(model=candidate.model, decision=DEGRADED, give_back=give_back)
        return held

    def _cheaper(self, decision: Decision, tried: set[ModelIdentity]) -> Candidate | None:
        return candidate(f"m{len(tried)}") if len(tried) < MAX_DOWNGRADES else None

    def answered_by(self) -> str:
        """Who is asked in the end."""
        return asyncio.run(self.open(self._plan.candidates[0], NONE_AVOIDED)).candidate.model.name


def test_models_step_in_one_after_the_other_and_only_the_last_one_holds_money() -> None:
    steps = Steps(deadline=time.monotonic() + 3600)
    assert (steps.answered_by(), steps.held, steps.ended) == ("m3", ["m3"], ["m0", "m1", "m2"])


def test_where_the_time_of_the_call_is_over_nobody_steps_in_any_more() -> None:
    steps = Steps(deadline=time.monotonic() - 1)
    assert (steps.answered_by(), steps.opened, steps.held, steps.ended) == ("m0", ["m0"], ["m0"], [])


def test_nobody_steps_in_for_a_client_that_has_left_and_its_money_is_given_back() -> None:
    async def left() -> None:
        """Returns at once."""

    steps = Steps(client_left=left)
    with pytest.raises(ClientLeft):
        steps.answered_by()
    assert (steps.opened, steps.held, steps.ended) == (["m0"], [], ["m0"])


@pytest.mark.parametrize("leaves", [True, False])
def test_who_leaves_while_money_of_the_cheaper_model_is_waited_for_is_not_served_by_the_first(leaves: bool) -> None:
    has_left = asyncio.Event()

    async def client_left() -> None:
        await has_left.wait()

    async def is_refused() -> None:
        if leaves:
            has_left.set()

    steps = Steps(client_left=client_left, refused="m1", is_refused=is_refused)
    if leaves:
        with pytest.raises(ClientLeft):
            steps.answered_by()
        assert (steps.opened, steps.held, steps.ended) == (["m0", "m1"], [], ["m0"])
    else:
        assert (steps.answered_by(), steps.held, steps.ended) == ("m0", ["m0"], [])
