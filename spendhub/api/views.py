"""What views of the native API share that answer by REST framework."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from spendhub.api.queries import refuse_unknown


class NativeView(APIView):
    """A view whose addresses take the parameters that it names, and no other: any other is InvalidQuery (400).

    `parameters` names them for each action of a view set, or for "get"; writing takes none. Whoever may not ask is told
    that first.
    """

    parameters: ClassVar[Mapping[str, Collection[str]]] = {}

    def known_parameters(self) -> Collection[str]:
        """What the address may say for what is being asked."""
        return self.parameters.get(getattr(self, "action", None) or "get", ())

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_unknown(request.query_params, self.known_parameters() if request.method in SAFE_METHODS else ())
