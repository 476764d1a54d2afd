"""What comes of attempts at a call (attempts.py): an answer that has begun, or a failure of the last one."""

from __future__ import annotations

import msgspec

from routing.execution import Execution
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.open_call import OpenCall


class Begun(msgspec.Struct, frozen=True):
    """An answer that has begun: who gives it, and the request as it was sent in the end. `is_handed_on`: it is a
    refusal that was set aside, and is booked; no other answer has begun."""

    call: OpenCall
    execution: Execution
    request: CallRequest
    is_handed_on: bool = False


class CallFailed(Exception):
    """The last attempt has failed and is booked; `call` says what the client is told about its money. `had_begun`: the
    vendor had said 200, and so has done some of the work."""

    def __init__(self, call: OpenCall, error: SpendHubError, *, had_begun: bool = False) -> None:
        super().__init__(str(error))
        self.call, self.error, self.had_begun = call, error, had_begun
