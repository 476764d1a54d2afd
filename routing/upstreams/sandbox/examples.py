"""Values that fit a JSON schema: what the sandbox calls tools with, and answers where a schema is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 8
WORD = "sandbox"
_PLAIN: Mapping[str, Any] = {"integer": 1, "number": 1, "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any]) -> Any:
    """A smallest value that a schema of the usual kind accepts: what SDKs write for a class, its references included.
    Patterns, formats and bounds on numbers and texts are not heeded."""
    return _example(schema, schema, 0)


def _example(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return WORD
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if isinstance(schema.get("$ref"), str):
        return _example(_referred(schema["$ref"], root), root, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return _example(schema[name][0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required", list(properties))
        names = required if isinstance(required, list) and depth < MAX_DEPTH else ()
        return {str(name): _example(properties.get(name), root, depth + 1) for name in names}
    if kind == "array":
        least = schema.get("minItems")
        count = least if isinstance(least, int) and 0 < least <= MAX_DEPTH else 0
        return [_example(schema.get("items"), root, depth + 1) for _ in range(count)]
    return _PLAIN.get(str(kind), WORD)


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What `#/$defs/Name` stands for."""
    found: Any = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        if name:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found
