"""One call at one vendor: say it in the vendor's words, send it, translate what goes wrong before it is answered.

One candidate, one try: which candidate, and whether to try again, is the caller's (see attempts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from routing.conversation import Conversation, NotTranslatable
from routing.errors import UpstreamError, UpstreamRefused
from routing.execution import Execution
from routing.key_choice import ChosenKey, choose_key, hidden_in_answers, hide_key
from routing.model_facts import ModelFacts
from routing.upstreams.asked_to_wait import with_retry_after
from routing.upstreams.base import UpstreamRequest, UpstreamResponse, Wire
from routing.upstreams.decoders import decoder_for
from routing.upstreams.json_objects import encode, object_in
from routing.upstreams.odd_answers import guarded
from routing.upstreams.registry import dialect_of, passes_untouched
from routing.upstreams.transport import Transport

# A refusal's body is kept for the caller; nobody needs more of it than this.
MAX_REFUSAL_BYTES = 64 * 1024

NO_PINS: Mapping[str, Any] = {}


class Asked(msgspec.Struct, frozen=True):
    """What a client asks in its own wire format; `conversation()` says it in no vendor's words, when that is needed."""

    wire: Wire
    body: Mapping[str, Any]
    is_stream: bool
    conversation: Callable[[], Conversation]
    # The client's own words beside the body, e.g. anthropic-beta: passed on where the body passes untouched.
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    # Fields that are written into the request, however it is said.
    pins: Mapping[str, Any] = msgspec.field(default_factory=dict)
    # What the client calls a field of a Conversation.
    own_name: Callable[[str], str] = str


async def execute(model: ModelFacts, asked: Asked, key: ChosenKey | None = None, *, transport: Transport) -> Execution:
    """Asks `model` for what the client's request says; returns once the answer begins. `key` is what was chosen for
    this attempt (key_choice.py), None for any.

    Raises DialectNotSpoken, CredentialMissing and NotTranslatable before anything is sent, UpstreamRefused with
    the vendor's own status, headers and body for an error, UpstreamTimeout and UpstreamError for none at all.
    """
    dialect = dialect_of(model)
    key = key or choose_key(model)
    is_native = passes_untouched(model, asked.wire)
    request = say(model, asked, key.secret.reveal())
    response = await transport.send(request)
    if response.status >= 400 or 300 <= response.status < 400:
        body = hide_key(key.secret, await _refusal(response))
        wire = asked.wire if is_native else None
        headers = with_retry_after(response.headers, body)
        refused = UpstreamRefused(model.provider.name, response.status, headers, body, wire)
        refused.key_id = key.id
        raise refused
    if asked.is_stream and decoder_for(response.headers) is None:
        await response.aclose()
        raise UpstreamError(f"{model.provider.name} answered {response.headers['content-type'][:60]}, not a stream")
    reader = guarded(request.reader() if request.reader else dialect.reader(asked.wire if is_native else None), model)
    secret = hidden_in_answers(key.secret)
    return Execution(model, response, reader, is_translated=not is_native, secret=secret, another_reader=request.reader)


def say(model: ModelFacts, asked: Asked, credential: str) -> UpstreamRequest:
    """What is sent to `model`: the client's own body where that passes untouched, else the same in the vendor's words.

    Raises DialectNotSpoken, and NotTranslatable for what has no words there."""
    if not passes_untouched(model, asked.wire):
        request = _translated(model, credential, asked)
        return replace(request, body=encode({**object_in(request.body), **asked.pins})) if asked.pins else request
    body = {**asked.body, **asked.pins} if asked.pins else asked.body
    request = dialect_of(model).native_request(model, credential, asked.wire, body, is_stream=asked.is_stream)
    return replace(request, headers={**request.headers, **asked.headers}) if asked.headers else request


def check_can_be_said(model: ModelFacts, asked: Asked, key: ChosenKey) -> None:
    """Raises NotTranslatable where the request can be said to `model` neither as it is nor in its own words. Sends
    nothing."""
    if not passes_untouched(model, asked.wire):
        _translated(model, key.secret.reveal(), asked)


def _translated(model: ModelFacts, credential: str, asked: Asked) -> UpstreamRequest:
    conversation = asked.conversation()
    try:
        return dialect_of(model).translated_request(model, credential, conversation, is_stream=asked.is_stream)
    except NotTranslatable as error:
        raise error.renamed(asked.own_name) from None


async def _refusal(response: UpstreamResponse) -> bytes:
    pieces, size = [], 0
    try:
        async for chunk in response.aiter_bytes():
            pieces.append(chunk)
            size += len(chunk)
            if size >= MAX_REFUSAL_BYTES:
                break
    except UpstreamError:
        pass  # Its status says enough; the body it promised never came.
    finally:
        await response.aclose()
    return b"".join(pieces)[:MAX_REFUSAL_BYTES]
