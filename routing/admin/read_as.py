"""How a pasted request was read, in words: whose client would have written it, how long it is, what it needs."""

from __future__ import annotations

from routing.conversation import CHOICES, LOGPROBS, SPEECH
from routing.upstreams.base import CHAT, EMBEDDINGS, GENERATE, MESSAGES, RESPONSES, Wire
from routing.wanted import Wanted

_WRITTEN_AS: dict[Wire, str] = {
    CHAT: "a chat completion, as OpenAI’s clients write it",
    RESPONSES: "a response, as OpenAI’s clients write it",
    EMBEDDINGS: "texts to embed",
    MESSAGES: "a message, as Anthropic’s clients write it",
    GENERATE: "contents, as Google’s clients write it",
}
_NEEDS = {CHOICES: "several answers at once", LOGPROBS: "log probabilities", SPEECH: "a spoken answer"}


def read_as(wanted: Wanted, *, is_body: bool) -> str:
    """One line on how the request was read; `is_body`: it was a client's whole body, and not words alone."""
    what = _WRITTEN_AS[wanted.wire] if is_body else "words of a chat"
    limit = wanted.max_output_tokens
    out = "no limit on the answer" if limit is None else f"at most {limit:,} out"
    if wanted.wire == EMBEDDINGS:
        out = "nothing out"
    needs = ", ".join(sorted(_NEEDS.get(need, need) for need in wanted.needs())) or "nothing in particular"
    return f"Read as {what}: about {wanted.input_tokens:,} tokens in, {out}. It needs {needs}."
