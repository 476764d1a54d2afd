"""The hot routes' view: what REST framework does, in a tenth of its time.

A LeanView is an APIView to the router, the schema and the docs, but dispatches by itself: key from
the snapshot, body straight into a msgspec.Struct, answer straight out of one, errors in the native
shape. bench/api.py measures it beside a bare Django JSON view.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from spendhub.api.authentication import MemberAuthentication, identify_by_key
from spendhub.api.bodies import MAX_BODY_BYTES, decode, read_body, require_json
from spendhub.api.errors import WrongMethod, body_of, headers_of, status_of, translate
from spendhub.api.permissions import require_permission
from spendhub.api.queries import refuse_unknown
from spendhub.errors import SpendHubError, Unidentified
from spendhub.tenants.snapshot import Principal

Body = TypeVar("Body")

_ENCODER = msgspec.json.Encoder(enc_hook=str)


@dataclass(slots=True)
class LeanAnswer:
    """A status, a body (anything msgspec can encode) and headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class LeanView(APIView, Generic[Body]):
    """POST only. A subclass says what it `needs`, `accepts` and `answers`, and does it in `answer`.

    `accepts` is any type msgspec can decode (a Struct; forbid_unknown_fields is the custom), None
    for a route without a body. `answers` maps statuses to Structs, for the schema. The address takes no parameters.
    """

    needs: ClassVar[str] = "spend"
    accepts: ClassVar[Any] = None
    answers: ClassVar[dict[int, Any]] = {}
    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES
    http_method_names = ["post", "options"]

    def answer(self, principal: Principal, body: Body, now: datetime, **path: Any) -> LeanAnswer:
        """Does the work. Raises SpendHubErrors; `path` holds what the address captured."""
        raise NotImplementedError

    def tell(self, error: SpendHubError) -> LeanAnswer:
        """The shape of an error; a surface with a shape of its own overrides it."""
        return LeanAnswer(status_of(error), body_of(error), headers_of(error))

    def post(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Here for the router and the schema, which look for it; `dispatch` does the work."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        now = timezone.now()
        try:
            if request.method != "POST":
                raise WrongMethod(f"this route takes POST, not {str(request.method)[:20]}")
            principal = identify_by_key(request)
            if principal is None:
                principal = self._identify_member(request)
            require_permission(principal, self.needs)
            if request.META.get("QUERY_STRING"):
                refuse_unknown(request.GET, ())
            told = self.answer(principal, self._read(request), now, **kwargs)
        except Exception as error:  # nothing may leave in another shape; `translate` logs what is a defect
            told = self.tell(translate(error))
            if told.status == 405:
                told.headers["Allow"] = "POST"
        return HttpResponse(
            _ENCODER.encode(told.body), status=told.status, content_type="application/json", headers=told.headers
        )

    def _read(self, request: HttpRequest) -> Any:
        if self.accepts is None:
            return None
        require_json(request.META.get("CONTENT_TYPE", ""))
        return decode(read_body(request, self.max_body_bytes), _decoder(self.accepts))

    def _identify_member(self, request: HttpRequest) -> Principal:
        found = MemberAuthentication().authenticate(self.initialize_request(request))
        if found is None:
            raise Unidentified("send an API key: Authorization: Bearer sh_...")
        return found[1]


@functools.lru_cache(maxsize=256)
def _decoder(accepted: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(accepted)
