"""Where Claude may not be asked to think by a number of tokens: in a loop of tools whose thoughts are lost.

An answer that goes on has to have the thoughts it began with, else: "Expected `thinking` or `redacted_thinking`, but
found `tool_use`" (400). Many clients have no field for them, and another vendor's model may have begun the loop. The
answer is then gone on with as it is, without thinking.

Source: platform.claude.com, "Thinking", "Preserving thinking blocks". That not every step of a loop has thoughts:
github.com/BerriAI/litellm, issue 18926.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

# Whose a message is, and the types of its blocks, in Anthropic's words.
Turn = tuple[str, Collection[str]]
_THOUGHTS = frozenset(("thinking", "redacted_thinking"))


def may_think_in_tokens(upstream_name: str, turns: Iterable[Turn], *, passes_prefills: bool = False) -> bool:
    """Whether a model called `upstream_name` may be asked for `thinking: enabled`. `turns`: the last one first. What
    other vendors who speak this dialect demand is not known: theirs always may. `passes_prefills`: a loop without a
    tool, words that its client puts into the model's mouth, is Anthropic's to judge."""
    if "claude" not in upstream_name:
        return True
    goes_on = has_tools = False
    for role, kinds in turns:
        if role == "assistant":
            if not _THOUGHTS.isdisjoint(kinds):
                return True
            goes_on = True
        elif role == "user" and "tool_result" not in kinds:
            break
        has_tools = has_tools or any(kind.endswith(("tool_use", "tool_result")) for kind in kinds)
    return not goes_on or (passes_prefills and not has_tools)


def type_of(block: Mapping[str, Any]) -> str:
    """What Anthropic calls a block of its own."""
    return str(block.get("type"))


def turns_of(messages: Sequence[Any], kind_of: Callable[[Mapping[str, Any]], str] = type_of) -> Iterator[Turn]:
    """The turns of a request's `messages`, the last one first. Messages of one role in a row are one turn, as they are
    to the vendor. `kind_of` tells Anthropic's word for a block."""
    said = (message for message in reversed(messages) if isinstance(message, Mapping))
    for role, same in groupby(said, lambda message: str(message.get("role"))):
        contents = (message.get("content") for message in same)
        blocks = (each for content in contents if isinstance(content, list) for each in content)
        yield role, [kind_of(each) for each in blocks if isinstance(each, Mapping)]
