"""Bodies described by msgspec (JSON Schema), in the words of OpenAPI 3.0: no type "null", no list of examples."""

from __future__ import annotations

from typing import Any


def nulls_as_openapi_3_0(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: `anyOf: [x, null]` becomes x with `nullable: true`, everywhere."""
    reworded = _reword(result)
    assert isinstance(reworded, dict), "a schema stays one"
    return reworded


def _reword(node: Any) -> Any:
    if isinstance(node, list):
        return [_reword(each) for each in node]
    if not isinstance(node, dict):
        return node
    # Nor may a list of required properties be empty.
    node = {name: _reword(value) for name, value in node.items() if (name, value) != ("required", [])}
    if isinstance(node.get("examples"), list):
        node["example"] = node.pop("examples")[0]
    options = node.get("anyOf")
    if not isinstance(options, list) or {"type": "null"} not in options:
        return node
    others = [each for each in options if each != {"type": "null"}]
    rest = {name: value for name, value in node.items() if name != "anyOf"}
    if len(others) > 1:
        return {**rest, "anyOf": others, "nullable": True}
    only = others[0] if others else {}
    return {**({"allOf": [only]} if "$ref" in only else only), **rest, "nullable": True}
