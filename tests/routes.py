"""Every route of the web plane, read from the URL configuration, so that a new one is met without a word here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("get", "post", "put", "patch", "delete")
_ANGLE = re.compile(r"<(?:(\w+):)?(\w+)>")
_GROUP = re.compile(r"\(\?P<(\w+)>")


@dataclass(frozen=True)
class Parameter:
    """A hole in an address, and what may fill it."""

    name: str
    regex: str


@dataclass(frozen=True)
class Route:
    """An address with holes, the methods it takes, and what answers."""

    template: str
    parameters: tuple[Parameter, ...]
    methods: tuple[str, ...]
    callback: Any

    def address(self, value: str) -> str | None:
        """The address with `value` in every hole; None when it does not fit one."""
        if not all(re.fullmatch(parameter.regex, value) for parameter in self.parameters):
            return None
        return self.template.replace("{}", value)

    def __str__(self) -> str:
        return self.template


_CONVERTERS = {
    "int": "[0-9]+",
    "uuid": "[0-9a-f]{8}-[0-9a-f-]{27}",
    "slug": "[-a-zA-Z0-9_]+",
    "path": ".+",
    "str": "[^/]+",
}


def every_route(prefix: str, urlconf: str | None = None) -> list[Route]:
    """Routes whose address begins with `prefix`."""
    return [route for route in _walk(get_resolver(urlconf), "/") if route.template.startswith(prefix)]


def _walk(resolver: URLResolver, before: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        here = before + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLResolver):
            yield from _walk(entry, here)
        elif isinstance(entry, URLPattern):
            yield _route(here, entry.callback)


def _route(pattern: str, callback: Any) -> Route:
    parameters = []
    # A named group may hold groups of its own, so its end is found by counting brackets.
    while group := _GROUP.search(pattern):
        end, depth = group.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(pattern[end], 0)
            end += 1
        parameters.append(Parameter(group[1], pattern[group.end() : end - 1]))
        pattern = f"{pattern[: group.start()]}{{}}{pattern[end:]}"
    parameters += [Parameter(name, _CONVERTERS[kind or "str"]) for kind, name in _ANGLE.findall(pattern)]
    template = _ANGLE.sub("{}", pattern).replace("\\Z", "").replace("\\", "").replace("^", "").rstrip("$")
    return Route(template, tuple(parameters), _methods(callback), callback)


def _methods(callback: Any) -> tuple[str, ...]:
    if hasattr(callback, "actions"):  # a view set: the router has said which
        allowed = callback.cls.http_method_names
        return tuple(method for method in callback.actions if method in METHODS and method in allowed)
    view = getattr(callback, "cls", getattr(callback, "view_class", None))
    if view is not None:
        return tuple(name for name in METHODS if name in view.http_method_names and hasattr(view, name))
    return ("get", "post")
