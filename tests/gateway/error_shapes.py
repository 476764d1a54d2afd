"""Errors as each route's clients expect them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

# Checks a 4xx, and says which field it is about: None where it says nothing of that.
Shape = Callable[[httpx.Response], str | None]


def openais(answered: httpx.Response) -> str | None:
    """`{"error": {"message", "type", "param", "code"}}`"""
    error = _refused(answered)["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["message"] and error["type"] and error["code"]
    field: str | None = error["param"]
    return field


def anthropics(answered: httpx.Response) -> str | None:
    """`{"type": "error", "error": {"type", "message"}, "request_id"}`, and our code beside them."""
    told = _refused(answered)
    assert (told["type"], set(told)) == ("error", {"type", "error", "request_id"})
    error = told["error"]
    assert error["message"] and error["type"] and error["code"]
    field: str | None = error.get("field")
    return field


def googles(answered: httpx.Response) -> str | None:
    """`{"error": {"code", "message", "status", "details": [ErrorInfo, our facts]}}`"""
    error = _refused(answered)["error"]
    assert set(error) == {"code", "message", "status", "details"}
    info, facts = error["details"]
    assert (error["code"], info["reason"]) == (answered.status_code, facts["code"].upper())
    assert error["message"] and error["status"] and info["domain"] == "spendhub"
    field: str | None = facts.get("field")
    return field


def recipes(answered: httpx.Response) -> str | None:
    """`{"error", "code", "issues": [{"path", "message"}]}`"""
    told = _refused(answered)
    assert told["error"] and told["code"] and told["issues"][0]["message"]
    field: str = told["issues"][0]["path"]
    return field or None


def _refused(answered: httpx.Response) -> Any:
    assert 400 <= answered.status_code < 500, (answered.status_code, answered.text[:300])
    assert answered.headers["content-type"] == "application/json"
    return answered.json()
