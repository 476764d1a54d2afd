"""Who is calling: an API key, or a person signed in to the browser (the docs' "try it out")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from spendhub.errors import Unidentified
from spendhub.tenants.identification import client_address, identify, presented_key
from spendhub.tenants.snapshot import ACCESS, Principal


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """What stands in `request.user` when a key, not a person, is calling."""

    principal: Principal
    is_authenticated: Literal[True] = True
    is_active: Literal[True] = True
    is_staff: Literal[False] = False
    pk: None = None

    def __str__(self) -> str:
        return self.principal.actor


def principal_of(request: Request | HttpRequest) -> Principal:
    """The caller of an authenticated request. Raises Unidentified when there is none."""
    principal = getattr(request, "auth", None)
    if not isinstance(principal, Principal):
        raise Unidentified("send an API key: Authorization: Bearer sh_...")
    return principal


def identify_by_key(request: HttpRequest) -> Principal | None:
    """The principal of the request's API key, None when it carries none. Raises as `identify` does."""
    meta = request.META
    key = presented_key(meta.get("HTTP_AUTHORIZATION"), meta.get("HTTP_X_API_KEY"))
    if key is None:
        return None
    address = client_address(meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR"))
    return identify(key, address, timezone.now())


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sh_...` or `x-api-key: sh_...`."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        principal = identify_by_key(request._request)
        return None if principal is None else (KeyHolder(principal), principal)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MemberAuthentication(SessionAuthentication):
    """A signed-in member, with the rights of their role; the header x-spendhub-tenant (a slug) chooses
    among several accounts. Writes need the CSRF token, as everywhere in a browser."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = found[0]
        slug = request.META.get("HTTP_X_SPENDHUB_TENANT")
        return user, ACCESS.current().principal_of_member(user.pk, user.get_username(), slug)
