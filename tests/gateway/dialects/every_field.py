"""Every field that an SDK's types know of a request, each in a request of its own: what is said of fields that others name.

The types are walked, not listed: a field that the next version of an SDK brings is looked at without anybody thinking of it.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions

_LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)
_DICTS = (dict, collections.abc.Mapping)
_MAX_DEPTH = 9


@dataclass(frozen=True)
class Said:
    """`value` says something in `field` of the type `owner`; `silent` is the same without, or with another word."""

    owner: str
    field: str
    value: Any
    silent: Any


# What types call optional and their APIs do not do without.
_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "FileFile": {"file_data": "AAAA"},
    "ResponseInputFileParam": {"file_data": "AAAA"},
    "ResponseInputFileContentParam": {"file_data": "AAAA"},
    "ResponseInputImageParam": {"image_url": "https://example.com/one.png"},
    "ResponseInputImageContentParam": {"image_url": "https://example.com/one.png"},
    "FunctionCallOutput": {"call_id": "call_1"},
    "ContentDict": {"parts": [{"text": "hi"}]},
    "BlobDict": {"mime_type": "image/png", "data": "AAAA"},
    "FileDataDict": {"mime_type": "image/png", "file_uri": "https://example.com/one.png"},
    "FunctionDeclarationDict": {"name": "one"},
}


def every_field(params: Any) -> Iterator[Said]:
    """Requests of the type `params`, a TypedDict."""
    return _of_dict(params, ())


def _of_dict(params: Any, within: tuple[Any, ...]) -> Iterator[Said]:
    if params in within or len(within) > _MAX_DEPTH:
        return
    least = _least(params)
    owner = params.__name__.removeprefix("Beta")
    for name, hint in _hints(params).items():
        for value in _values(hint):
            # A field that must be there says something by being another one.
            silent = least if name not in least else {**least, name: _least(hint)}
            yield Said(owner, name, {**least, name: value}, silent)
        for inner in _within(hint, (*within, params)):
            yield Said(inner.owner, inner.field, {**least, name: inner.value}, {**least, name: inner.silent})


def _within(hint: Any, within: tuple[Any, ...]) -> Iterator[Said]:
    hint = _bare(hint)
    if typing_extensions.is_typeddict(hint):
        yield from _of_dict(hint, within)
    elif _is_union(hint):
        for each in get_args(hint):
            yield from _within(each, within)
    elif _is_list(hint):
        for inner in _within(get_args(hint)[0], within):
            yield Said(inner.owner, inner.field, [inner.value], [inner.silent])


def _values(hint: Any) -> list[Any]:
    """Values that a client may mean something by; objects with fields of their own are looked into instead."""
    hint = _bare(hint)
    if _is_union(hint):
        return [value for each in get_args(hint) for value in _values(each)]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [each.value for each in hint]
    if _is_list(hint):
        return [[value] for value in _values(get_args(hint)[0])]
    if get_origin(hint) in _DICTS:
        return [{"one": "two"}]
    return {str: ["one"], bool: [True, False], int: [4], float: [4], object: [{"one": "two"}]}.get(hint, [])


@cache
def _hints(params: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(params, include_extras=True)


def _least(hint: Any) -> Any:
    """A value with nothing that need not be there."""
    hint = _bare(hint)
    if typing_extensions.is_typeddict(hint):
        needed = {name: _least(each) for name, each in _hints(hint).items() if get_origin(each) in _REQUIRED}
        return needed | _NEEDED.get(hint.__name__, {})
    if _is_union(hint):
        return _least(next(each for each in get_args(hint) if each is not type(None)))
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if _is_list(hint):
        return [_least(get_args(hint)[0])]
    if get_origin(hint) in _DICTS or hint is object:
        return {}
    return {str: "nothing", bool: False, int: 3, float: 3}[hint]


_REQUIRED = (Required, typing_extensions.Required)


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (*_REQUIRED, NotRequired, typing_extensions.NotRequired, Annotated):
        hint = get_args(hint)[0]
    return hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in _LISTS or "SequenceNotStr" in str(get_origin(hint))
