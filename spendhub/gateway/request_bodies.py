"""What clients send, read strictly: every function raises Invalid naming the place, and never anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from spendhub.api.bodies import InvalidJson
from spendhub.errors import Invalid

MAX_TOKENS = 1_000_000_000
MAX_MODEL_NAME = 200
# Whoever writes a body down again, level by level, must come to its end.
MAX_DEPTH = 256

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def object_in(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises InvalidJson, or Invalid for JSON that is no object."""
    try:
        body = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("the body is not valid JSON in UTF-8" if raw else "the body is empty; send JSON") from None
    except RecursionError:
        raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _refuse_depth(body)
    return body


def _refuse_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels")


def model_in(body: Mapping[str, Any]) -> str:
    """The name in `model`."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip() or len(model) > MAX_MODEL_NAME:
        raise Invalid(f"model must be the name of a model, 1 to {MAX_MODEL_NAME} characters", field="model")
    return model.strip()


def whole_in(body: Mapping[str, Any], name: str, at_most: int = MAX_TOKENS, at_least: int = 1) -> int | None:
    """A whole number in a field, None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        raise Invalid(f"{name} must be a whole number from {at_least} to {at_most}", field=name)
    return value


def flag_in(body: Mapping[str, Any], name: str) -> bool | None:
    """True or false in a field, None where it is absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Invalid(f"{name} must be true or false", field=name)
    return value


def object_field(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object in a field, None where it is absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise Invalid(f"{name} must be an object", field=name)
    return value


def objects_in(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects in a field, empty where it is absent or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Invalid(f"{name} must be a list of objects", field=name)
    return value


def some_objects_in(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of at least one object in a field."""
    value = body.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise Invalid(f"{name} must be a list of at least one object", field=name)
    return value


def text_at(value: Any, place: str) -> str:
    """`value`, which must be a text."""
    if not isinstance(value, str):
        raise Invalid(f"{place} must be a text", field=place)
    return value


def optional_text_at(value: Any, place: str) -> str:
    """`value`, which must be a text; "" for null."""
    return "" if value is None else text_at(value, place)


def name_at(value: Any, place: str) -> str:
    """`value`, which must be a text with something in it."""
    if not isinstance(value, str) or not value:
        raise Invalid(f"{place} must be a text that is not empty", field=place)
    return value


def object_at(value: Any, place: str) -> dict[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, dict):
        raise Invalid(f"{place} must be an object", field=place)
    return value


def list_at(value: Any, place: str) -> list[Any]:
    """`value`, which must be a list."""
    if not isinstance(value, list):
        raise Invalid(f"{place} must be a list", field=place)
    return value


def number_in(body: Mapping[str, Any], name: str) -> float | None:
    """A number in a field, None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid(f"{name} must be a number", field=name)
    return value


def data_url_parts(url: str) -> tuple[str, str] | None:
    """Media type and base64 data of a `data:` URL, None for any other text. Source: RFC 2397."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0], data
