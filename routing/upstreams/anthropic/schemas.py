"""JSON schemas as Anthropic takes them for structured outputs and strict tools.

Every object must be closed, and bounds on numbers, lengths and sizes are not understood: they move into the
description, where the model reads them. Source: platform.claude.com, "Structured outputs", "JSON Schema limitations".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` with every object closed and every bound in words. An object that allows more is closed too."""
    found: dict[str, Any] = {}
    bounds: list[str] = []
    for name, value in schema.items():
        if name in _BOUNDS or (name == "minItems" and value not in (0, 1)):
            bounds.append(f"{name}: {json.dumps(value)}")
        elif name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            found[name] = {key: _closed(each) for key, each in value.items()}
        elif name in _LISTS_OF_SCHEMAS and isinstance(value, list):
            found[name] = [_closed(each) for each in value]
        elif name == "items":
            found[name] = _closed(value)
        elif name != "$schema":
            found[name] = value
    if found.get("type") == "object" or "properties" in found:
        found["additionalProperties"] = False
    if bounds:
        found["description"] = " ".join([*filter(None, [found.get("description")]), f"({', '.join(bounds)})"])
    return found


def _closed(schema: Any) -> Any:
    return closed_schema(schema) if isinstance(schema, Mapping) else schema
