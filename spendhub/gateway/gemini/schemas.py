"""Google's own schemas as JSON schemas: types in capitals, `nullable`, an order of properties.

Source: ai.google.dev API reference, "Schema" (a subset of OpenAPI 3.0's schema object).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spendhub.errors import Invalid
from spendhub.gateway.request_bodies import list_at, object_at

_BOTH_SPELLINGS = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems", "min_length": "minLength",
    "max_length": "maxLength", "min_properties": "minProperties", "max_properties": "maxProperties",
    "property_ordering": "propertyOrdering", "additional_properties": "additionalProperties", "ref": "$ref",
    "defs": "$defs",
}  # fmt: skip
# Numbers that Google writes as texts, since they are 64 bits wide.
_WIDE = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
# How wide a number is, and that a text is one of a list, says `type` or `enum` already.
_FORMATS_LEFT_OUT = ("float", "double", "int32", "int64", "enum")
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
# What OpenAI's strict mode is known to take.
_STRICT = frozenset(
    ("type", "properties", "required", "items", "enum", "anyOf", "description", "title", "additionalProperties",
     "$ref", "$defs")
)  # fmt: skip


def json_schema(given: Any, place: str) -> dict[str, Any]:
    """The schema at `place` as a JSON schema; what is one already stays one. Raises Invalid."""
    schema = object_at(given, place)
    found: dict[str, Any] = {}
    for written, value in schema.items():
        name = _BOTH_SPELLINGS.get(written, written)
        inner = f"{place}.{name}"
        if value is None:
            continue
        match name:
            case "type":
                found |= _type(value, inner)
            case "properties" | "$defs":
                found[name] = {
                    key: json_schema(each, f"{inner}.{key}") for key, each in object_at(value, inner).items()
                }
            case "items":
                found[name] = json_schema(value, inner)
            case "anyOf":
                found[name] = [json_schema(each, inner) for each in list_at(value, inner)]
            case "example":
                found["examples"] = [value]
            case "format":
                if value not in _FORMATS_LEFT_OUT:
                    found[name] = value
            case "nullable" | "propertyOrdering":
                pass
            case _ if name in _WIDE:
                found[name] = _number(value, inner)
            case _:
                found[name] = value
    _order(found, schema.get("propertyOrdering") or schema.get("property_ordering"))
    return _nullable(found) if schema.get("nullable") is True else found


def closed_if_strict(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with all its objects closed, if it can be held to strictly: every property is required, and nothing
    is said that a strict vendor does not understand. Else None."""
    try:
        return _closed(schema) if schema.get("type") == "object" else None
    except _NotStrict:
        return None


class _NotStrict(Exception):
    pass


def _closed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not _STRICT.issuperset(schema):
        raise _NotStrict
    found = dict(schema)
    for name in ("properties", "$defs"):
        if name in schema:
            if not isinstance(schema[name], Mapping):
                raise _NotStrict
            found[name] = {key: _closed(each) for key, each in schema[name].items()}
    if "items" in schema:
        found["items"] = _closed(schema["items"])
    if "anyOf" in schema:
        if not isinstance(schema["anyOf"], list):
            raise _NotStrict
        found["anyOf"] = [_closed(each) for each in schema["anyOf"]]
    if schema.get("type") == "object" or "properties" in schema:
        required = schema.get("required")
        is_all = isinstance(required, list) and sorted(map(str, required)) == sorted(found.get("properties", ()))
        if not is_all or schema.get("additionalProperties") not in (None, False):
            raise _NotStrict
        found["additionalProperties"] = False
    return found


def _type(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, list):
        return {"type": [_one_type(each, place) for each in value]}
    return {} if value == "TYPE_UNSPECIFIED" else {"type": _one_type(value, place)}


def _one_type(value: Any, place: str) -> str:
    if not isinstance(value, str) or value.lower() not in _TYPES:
        raise Invalid(f"{place} must be one of {', '.join(each.upper() for each in _TYPES)}", field=place)
    return value.lower()


def _number(value: Any, place: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{place} must be a whole number", field=place)
    return value


def _order(schema: dict[str, Any], wanted: Any) -> None:
    properties = schema.get("properties")
    if isinstance(properties, dict) and isinstance(wanted, list):
        first = [name for name in wanted if isinstance(name, str) and name in properties]
        schema["properties"] = {name: properties[name] for name in dict.fromkeys([*first, *properties])}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    return schema
