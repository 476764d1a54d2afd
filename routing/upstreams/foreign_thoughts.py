"""Thoughts of another vendor's model in a body that otherwise passes untouched: left out, since they would be refused.

Under a route one conversation may be answered by models of several vendors; its client sends all their thoughts back.
A vendor recognises its own by their signature, and refuses a request with others. So with the fields in which we tell
clients what their wire format has no field for, e.g. how Gemini has signed its calls.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from operator import is_
from typing import Any

from routing.upstreams.signatures import signature_for

# What we put before the signature of another vendor than the one whose wire format it is carried in.
_MARKS = ("gemini.", "bedrock.", "openai.", "anthropic.", "spendhub.")
# The same where Google's clients want base64. Nine bytes are twelve letters, whatever follows them.
MARK_IN_BASE64 = b64encode(b"spendhub.").decode()


def messages_without(messages: Sequence[Any]) -> Sequence[Any]:
    """Anthropic's `messages` without thinking that Anthropic has not signed, and without another vendor's signatures
    of calls; the very list where there are none."""
    found = [
        _without(each) if isinstance(each, dict) and each.get("role") == "assistant" else each for each in messages
    ]
    return messages if _are_same(found, messages) else found


def items_without(items: Sequence[Any]) -> Sequence[Any]:
    """Items of a Responses `input` without reasoning that we have sealed, and without another vendor's signatures of
    calls; the very list where there are none."""
    found = [_unsigned(item) for item in items if not _is_sealed(item)]
    return items if _are_same(found, items) else found


def _are_same(found: Sequence[Any], given: Sequence[Any]) -> bool:
    return len(found) == len(given) and all(map(is_, found, given))


# A vendor's own fields of a chat completion's message and, the last, of a call in it: for what has been thought, for
# that with its signatures, and for how a call is signed.
CHATS_WORDS, CHATS_BLOCKS, CHATS_SIGNATURE = "reasoning_content", "thinking_blocks", "extra_content"


def chat_without(messages: Sequence[Any], takes: Collection[str] | None) -> Sequence[Any]:
    """A chat completion's `messages` without thoughts and signatures that their vendor would refuse; the very list
    where there are none. `takes`: which of the three fields it knows, None where nobody can say: then those are left
    out that we have filled for another vendor's model. Google, the one that takes signatures, gets its own bare."""
    found = [
        _chat_message_without(each, takes)
        if isinstance(each, dict) and each.get("role") == "assistant" and _has_one_of_the_fields(each)
        else each
        for each in messages
    ]
    return messages if _are_same(found, messages) else found


def _has_one_of_the_fields(message: Mapping[str, Any]) -> bool:
    """Looked at in each message of each call, where most have none: hence the plain loop."""
    if CHATS_WORDS in message or CHATS_BLOCKS in message:
        return True
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            if isinstance(call, dict) and CHATS_SIGNATURE in call:
                return True
    return False


def _chat_message_without(message: Mapping[str, Any], takes: Collection[str] | None) -> Mapping[str, Any]:
    calls, blocks = _list_in(message, "tool_calls"), _list_in(message, CHATS_BLOCKS)
    is_foreign = any(_is_chats_mark(block) for block in blocks) or any(_is_marked_call(call) for call in calls)
    gone = [
        name
        for name in (CHATS_WORDS, CHATS_BLOCKS)
        if name in message and (is_foreign or (takes is not None and name not in takes))
    ]
    kept = [_call_without(call, takes) for call in calls]
    if not gone and _are_same(kept, calls):
        return message
    bare = {name: value for name, value in message.items() if name not in gone}
    return {**bare, "tool_calls": kept} if calls else bare


def _list_in(message: Mapping[str, Any], name: str) -> list[Any]:
    found = message.get(name)
    return found if isinstance(found, list) else []


def _is_chats_mark(block: Any) -> bool:
    return isinstance(block, Mapping) and str(block.get("signature") or block.get("data") or "").startswith(_MARKS)


def _is_marked_call(call: Any) -> bool:
    return _signature_of(call).startswith(_MARKS)


def _signature_of(call: Any) -> str:
    """How Gemini has signed a call of a chat completion."""
    for name in (CHATS_SIGNATURE, "google", "thought_signature"):
        call = call.get(name) if isinstance(call, Mapping) else None
    return call if isinstance(call, str) else ""


def _call_without(call: Any, takes: Collection[str] | None) -> Any:
    if not isinstance(call, Mapping) or CHATS_SIGNATURE not in call:
        return call
    is_taken = takes is None or CHATS_SIGNATURE in takes
    if is_taken and not _is_marked_call(call):
        return call
    bare = {name: value for name, value in call.items() if name != CHATS_SIGNATURE}
    own = signature_for("gemini", _signature_of(call)) if takes is not None and is_taken else ""
    return {**bare, CHATS_SIGNATURE: {"google": {"thought_signature": own}}} if own else bare


def contents_without(contents: Sequence[Any], *, stand_in: str) -> Sequence[Any]:
    """Google's `contents` without signatures that are not Google's, and the thoughts that have them; the very list
    where there are none. `stand_in` takes such a signature's place at a call of a function, if that needs one."""
    found = [_content_without(content, stand_in) for content in contents]
    return contents if _are_same(found, contents) else found


def _content_without(content: Any, stand_in: str) -> Any:
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if not isinstance(parts, list) or not any(_is_marked(part) for part in parts):
        return content
    kept = []
    for part in parts:
        if not _is_marked(part):
            kept.append(part)
        elif not part.get("thought"):
            bare = {name: value for name, value in part.items() if name != "thoughtSignature"}
            if stand_in and "functionCall" in bare:
                bare["thoughtSignature"] = stand_in
            if bare:
                kept.append(bare)
    return {**content, "parts": kept or [{"text": "(thinking)"}]}


def _is_marked(part: Any) -> bool:
    return isinstance(part, Mapping) and str(part.get("thoughtSignature") or "").startswith(MARK_IN_BASE64)


def _without(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, list) or not _may_have_foreign(content):
        return message
    kept = [_unsigned(block) for block in content if not _is_foreign(block)]
    if _are_same(kept, content):
        return message
    # A turn of nothing but thoughts: the vendor wants something in it.
    return {**message, "content": kept or [{"type": "text", "text": "(thinking)"}]}


def _may_have_foreign(content: list[Any]) -> bool:
    """Looked at in each message of each call, where most are words: hence the plain loop."""
    for block in content:
        if isinstance(block, dict) and ("signature" in block or "data" in block or block.get("type") == "thinking"):
            return True
    return False


def _unsigned(said: Any) -> Any:
    """A block or an item without another vendor's signature, if it is a call that has one."""
    if not isinstance(said, dict) or "signature" not in said or said.get("type") not in ("tool_use", "function_call"):
        return said
    if not str(said["signature"] or "").startswith(_MARKS):
        return said
    return {name: value for name, value in said.items() if name != "signature"}


def _is_foreign(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "thinking":
        signature = block.get("signature")
        return not signature or str(signature).startswith(_MARKS)
    return kind == "redacted_thinking" and str(block.get("data", "")).startswith(_MARKS)


def _is_sealed(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    return str(item.get("encrypted_content") or "").startswith(_MARKS)
