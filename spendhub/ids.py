"""Identifiers that sort by the time they were made, so that indexes grow at one end."""

from __future__ import annotations

import random
import time
import uuid


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits.

    Ids are names, not secrets: the random bits come from Python's generator, which is seeded by the
    system in every process, forked ones too, and costs no system call.
    """
    milliseconds = time.time_ns() // 1_000_000
    random_bits = random.getrandbits(74)
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random_bits >> 62) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & ((1 << 62) - 1)
    return uuid.UUID(int=value)
