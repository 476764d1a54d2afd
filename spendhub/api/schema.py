"""The OpenAPI description: lean views and their structs, the key as a scheme, the errors every route shares."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from spendhub.api.lean import LeanView

_REF = "#/components/schemas/{name}"

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "Stable for ever.", "example": "invalid"},
                "message": {"type": "string", "description": "For people; may improve."},
                "details": {"type": "object", "additionalProperties": True},
            },
            "required": ["code", "message", "details"],
        }
    },
    "required": ["error"],
}
_ERRORS = {
    "400": "The request cannot be understood.",
    "401": "No usable API key came with it.",
    "403": "The key lacks the permission.",
}


class Schema(AutoSchema):
    """Knows lean views and the filters of lists, and adds the errors that any route can answer."""

    def get_override_parameters(self) -> Any:
        if getattr(self.view, "action", "") == "list":
            return [*super().get_override_parameters(), *getattr(self.view, "filters", ())]
        return super().get_override_parameters()

    def get_request_serializer(self) -> Any:
        if isinstance(self.view, LeanView):
            return self.view.accepts
        return super().get_request_serializer()

    def get_response_serializers(self) -> Any:
        if isinstance(self.view, LeanView):
            return self.view.answers or {200: None}
        return super().get_response_serializers()

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is None or not self.get_auth():
            return operation
        component = ResolvedComponent(name="Error", type=ResolvedComponent.SCHEMA, object="Error", schema=ERROR_SCHEMA)
        self.registry.register_on_missing(component)
        for status, description in _ERRORS.items():
            content = {"application/json": {"schema": component.ref}}
            operation["responses"].setdefault(status, {"description": description, "content": content})
        return operation


class StructSchema(OpenApiSerializerExtension):
    """Lets msgspec Structs stand where serializers do."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> Any:
        _, components = msgspec.json.schema_components((self.target,), ref_template=_REF)
        own = components.pop(self.get_name(auto_schema, direction))
        for name, schema in components.items():
            auto_schema.registry.register_on_missing(
                ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema)
            )
        return own


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "spendhub.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: sh_..."}


class MemberScheme(OpenApiAuthenticationExtension):
    target_class = "spendhub.api.authentication.MemberAuthentication"
    name = "Member"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "A signed-in member; header x-spendhub-tenant chooses among several accounts.",
        }
