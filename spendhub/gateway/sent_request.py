"""The request as a vendor is sent it: shaped by what budgets' policies say, and how it is said in other dialects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from budgets.decisions import ALLOW
from routing.asking import NO_PINS, Asked
from routing.upstreams.base import CHAT
from routing.upstreams.openai.compatible import NEW_LIMIT, OLD_LIMIT, refuses_old_limit
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.foreign_fields import own_name
from spendhub.gateway.open_call import OpenCall, Origin


def shaped_for(
    call: OpenCall, request: CallRequest, dialect: ClientDialect, *, is_choice_ours: bool = False
) -> CallRequest:
    """The request as it may be sent for `call`: without disabled tools, and with a strict budget's limit. Where
    the model is of our choice, the client's own limit is said in the word that this model takes."""
    decision = call.decision
    if decision.action != ALLOW and decision.disabled_tools:
        disabled = frozenset(decision.disabled_tools) & frozenset(request.tools)
        if disabled:
            request = dialect.without_tools(request, disabled)
    limit = request.max_output_tokens if request.is_limit_ours else None
    if call.output_limit is not None:
        limit = call.output_limit
    if limit is not None:
        return dialect.with_max_output(request, limit, call.model)
    if is_choice_ours and request.wire == CHAT and request.body.get(OLD_LIMIT) and refuses_old_limit(call.model):
        return _with_new_limit(request)
    return request


def _with_new_limit(request: CallRequest) -> CallRequest:
    body = dict(request.body)
    # Where a client says both, the larger is held for.
    body[NEW_LIMIT] = max(body.pop(OLD_LIMIT), body.get(NEW_LIMIT) or 0)
    return replace(request, body=body)


def asked_as(request: CallRequest, dialect: ClientDialect, origin: Origin, pins: Mapping[str, Any] = NO_PINS) -> Asked:
    """What `execute` is told of a request: its words are translated only where the vendor speaks another dialect."""
    return asked_with(request, dialect, origin.passed_headers, pins)


def asked_with(
    request: CallRequest, dialect: ClientDialect, headers: Mapping[str, str], pins: Mapping[str, Any] = NO_PINS
) -> Asked:
    """As `asked_as`, with the headers that are passed on; also for a request that is never sent."""
    return Asked(
        request.wire, request.body, request.is_stream, lambda: dialect.conversation(request), headers, pins,
        lambda word: own_name(word, dialect.own_names, request.body),
    )  # fmt: skip
