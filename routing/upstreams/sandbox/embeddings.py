"""The sandbox's embeddings: vectors made of the words of a text, so that texts with words in common are near.

Deterministic, of no meaning beyond that, and in OpenAI's wire format. Source: OpenAI's API reference, "Embeddings".
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from routing.tokens import PIECE, count_tokens
from routing.upstreams.sandbox.answers import SandboxRefusal

USUAL_DIMENSIONS = 256
MAX_DIMENSIONS = 3_072
MAX_INPUTS = 2_048


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an embeddings request. Raises SandboxRefusal for a malformed one."""
    inputs = _inputs(body.get("input"))
    size = body.get("dimensions", USUAL_DIMENSIONS)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_DIMENSIONS:
        raise SandboxRefusal(400, f"'dimensions' must be a whole number from 1 to {MAX_DIMENSIONS}")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise SandboxRefusal(400, "'encoding_format' must be 'float' or 'base64'")
    data = []
    for index, given in enumerate(inputs):
        vector = _vector([piece.lower() for piece in PIECE.findall(given)] if isinstance(given, str) else given, size)
        packed = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if encoding == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": packed})
    tokens = sum(count_tokens(given) if isinstance(given, str) else len(given) for given in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _inputs(given: Any) -> list[str | list[str]]:
    """The texts, or lists of token numbers, that are to be embedded."""
    if isinstance(given, str) or (isinstance(given, list) and given and all(isinstance(each, int) for each in given)):
        given = [given]
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_INPUTS:
        raise SandboxRefusal(400, f"'input' must be a text or a list of 1 to {MAX_INPUTS} texts")
    found: list[str | list[str]] = []
    for each in given:
        if isinstance(each, str) and each:
            found.append(each)
        elif isinstance(each, list) and each and all(isinstance(token, int) for token in each):
            found.append([str(token) for token in each])
        else:
            raise SandboxRefusal(400, "'input' must hold texts that are not empty, or lists of token numbers")
    return found


def _vector(words: list[str], size: int) -> list[float]:
    """A vector of length 1: each word points one way along one axis."""
    vector = [0.0] * size
    for word in words:
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        vector[number % size] += 1.0 if number & (1 << 63) else -1.0
    length = math.sqrt(sum(part * part for part in vector))
    if not length:
        return [1.0, *vector[1:]]
    return [round(part / length, 8) for part in vector]
