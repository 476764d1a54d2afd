"""Identifiers that sort by the time they were made, so that indexes grow at one end."""

from __future__ import annotations

import random
import time
import uuid

_CALL_MARK = 0xCA1
_MARKED = f"-8{_CALL_MARK:03x}-"


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits.

    Ids are names, not secrets: the random bits come from Python's generator, which is seeded by the
    system in every process, forked ones too, and costs no system call.
    """
    return _id_of(0x7, random.getrandbits(12))


def new_call_id() -> uuid.UUID:
    """The id of a call through the gateway: as `new_id`, but of version 8 (RFC 9562, section 5.8) and with a mark, by
    which `is_call_id` tells it from ids that clients give to calls of their own."""
    return _id_of(0x8, _CALL_MARK)


def is_call_id(text: str) -> bool:
    """Whether `text` has the form of an id that `new_call_id` has made."""
    return len(text) == 36 and text[13:19] == _MARKED


def _id_of(version: int, twelve_bits: int) -> uuid.UUID:
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= version << 76
    value |= twelve_bits << 64
    value |= 0b10 << 62
    value |= random.getrandbits(62)
    return uuid.UUID(int=value)
