"""Where vendors who speak OpenAI's chat format differ from OpenAI, known by their address or their models' names.

Sources, read on 2026-11-24:
- docs.mistral.ai, API reference; Mistral answers 422 to fields it does not know.
- api-docs.deepseek.com, "Create chat completion" and "Thinking mode": the thoughts of a turn with tool calls must come
  back, "reasoning_content in the thinking mode must be passed back" (400) otherwise.
- platform.kimi.ai (Moonshot), "Chat completion", "Model parameters", "Thinking effort": the same of Kimi; its sampling
  is fixed, "invalid temperature: only 1 is allowed for this model" (400).
- docs.z.ai and docs.bigmodel.cn (Zhipu), "Chat completion", "Thinking mode".
- StreamLake (Kuaishou): its document "Chat completion" and docs.litellm.ai, "StreamLake"; neither names the new limit.
- learn.microsoft.com, "Azure OpenAI reference": models of OpenAI under names that say nothing.
Who knows no thoughts in a conversation, read on 2026-11-29:
- Mistral, "Extra inputs are not permitted" (422): github.com/BerriAI/litellm, issue 30835.
- Groq and Cerebras, "property 'reasoning_content' is unsupported" (400): github.com/janhq/jan, issue 8136, and
  github.com/Kilo-Org/kilocode, issue 10375.
- OpenAI's API reference, "Create chat completion", has no such field.
- ai.google.dev, "Thought signatures": Google has one for the signatures of calls.
How many stop sequences, and how long an id may be, read on 2026-11-30:
- OpenAI's and Azure's references: "up to 4 sequences". Groq, "len(stop) > 4 is not supported" (400):
  github.com/letta-ai/letta, issue 1272. DeepSeek's: up to 16.
- OpenAI, "messages[2].tool_calls[0].id: string too long. Expected a string with maximum length 40" (400):
  github.com/agno-agi/agno, issue 5382.
- Mistral, "must be a-z, A-Z, 0-9, with a length of 9" (400): github.com/langchain-ai/langchain, pull request 24668.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from routing.conversation import CHOICES, LOGPROBS, SPEECH
from routing.model_facts import ModelFacts
from routing.upstreams.foreign_thoughts import CHATS_SIGNATURE, CHATS_WORDS, chat_without
from routing.upstreams.openai.addresses import host_of, is_azures, is_openais
from routing.upstreams.openai.generations import SAMPLING, generation_of
from routing.upstreams.turns import short_id

OLD_LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
# What stands for thoughts that are lost, or another vendor's: the field must be there, and not empty.
NO_THOUGHTS = " "
MAX_ID = 40
_NINE = re.compile("[a-zA-Z0-9]{9}")
_OPENAIS = re.compile(r"(openai/)?(o\d|gpt-(?!oss)|chatgpt-)")


@dataclass(frozen=True, slots=True)
class Manners:
    """How a vendor wants to be asked.

    `limit`: the one name it knows an output limit by, "" for both. `wants_asking`: a stream says its usage only when
    `stream_options` asks for it; else it always does, and refuses the field. `fixed`: settings that it refuses, but for
    one value. `wants_thoughts`: tool calls come back with the thoughts before them. `efforts`: its words for ours, None
    where they are OpenAI's; what is not in it is not said. `can_stop_thinking`: by `thinking`, not by an effort.
    `lacks`: of BESIDE_WORDS, and fields of a conversation that it has no word for. `takes`: see
    foreign_thoughts.chat_without. `most_stops`: so many stop sequences, None where nobody has said how many.
    `wants_nine`: ids of tool calls have nine letters and digits.
    """

    limit: str = ""
    wants_asking: bool = True
    seed: str = "seed"
    fixed: tuple[str, ...] = ()
    wants_thoughts: bool = False
    efforts: Mapping[str, str] | None = None
    can_stop_thinking: bool = False
    lacks: frozenset[str] = frozenset()
    takes: frozenset[str] | None = None
    most_stops: int | None = None
    wants_nine: bool = False

    def call_id(self, given: str) -> str:
        """A tool call's id as the vendor takes it; the same for the call and its result."""
        if not self.wants_nine:
            return short_id(given, MAX_ID)
        if _NINE.fullmatch(given):
            return given
        return hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:9]


_NONE, _WORDS = frozenset[str](), frozenset((CHATS_WORDS,))
_NO_LOGPROBS, _NEITHER = frozenset((LOGPROBS,)), frozenset((CHOICES, LOGPROBS))
_USUAL = Manners()
_AZURES = Manners(limit=NEW_LIMIT, most_stops=4)
_STRICT = Manners(takes=_NONE)
_FOUR_STOPS = replace(_STRICT, most_stops=4)
_GOOGLE = Manners(takes=frozenset((CHATS_SIGNATURE,)))
_MISTRAL = Manners(
    limit=OLD_LIMIT,
    wants_asking=False,
    seed="random_seed",
    lacks=frozenset((LOGPROBS, SPEECH)),  # Voxtral hears, and answers in words alone.
    takes=_NONE,
    wants_nine=True,
)
_DEEPSEEK = Manners(
    limit=OLD_LIMIT,
    wants_thoughts=True,
    efforts=MappingProxyType(
        {"minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "high", "max": "max"}
    ),
    can_stop_thinking=True,
    lacks=frozenset((CHOICES,)),
    takes=_WORDS,
    most_stops=16,
)
_NO_EFFORTS: Mapping[str, str] = MappingProxyType({})
_MOONSHOT = Manners(limit=NEW_LIMIT, lacks=_NO_LOGPROBS, takes=_WORDS)
_KIMI_K2 = replace(_MOONSHOT, fixed=SAMPLING, wants_thoughts=True, efforts=_NO_EFFORTS)
_KIMI_K2_5 = replace(_KIMI_K2, can_stop_thinking=True, lacks=_NEITHER)
_KIMI_K3 = replace(
    _KIMI_K2,
    lacks=_NEITHER,
    efforts=MappingProxyType(
        {"none": "low", "minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "max", "max": "max"}
    ),
)
_GLM = Manners(limit=OLD_LIMIT, efforts=_NO_EFFORTS, can_stop_thinking=True, lacks=_NEITHER, takes=_WORDS)
_STREAMLAKE = Manners(limit=OLD_LIMIT)
# For each address the models' names that begin so, the longer ones first.
_BY_HOST: Mapping[str, Sequence[tuple[str, Manners]]] = {
    **dict.fromkeys(("api.openai.com", "api.groq.com"), (("", _FOUR_STOPS),)),
    "api.cerebras.ai": (("", _STRICT),),
    "generativelanguage.googleapis.com": (("", _GOOGLE),),
    "api.mistral.ai": (("", _MISTRAL),),
    "api.deepseek.com": (("", _DEEPSEEK),),
    **dict.fromkeys(
        ("api.moonshot.ai", "api.moonshot.cn"),
        (
            ("kimi-k2.5", _KIMI_K2_5),
            ("kimi-k2.6", _KIMI_K2_5),
            ("kimi-k2", _KIMI_K2),
            ("kimi-", _KIMI_K3),
            ("", _MOONSHOT),
        ),
    ),
    **dict.fromkeys(
        ("api.z.ai", "open.bigmodel.cn"),
        (("glm-5.2", replace(_GLM, efforts=None)), ("glm-5.3", replace(_GLM, efforts=None)), ("", _GLM)),
    ),
    **dict.fromkeys(("vanchin.streamlake.ai", "wanqing.streamlakeapi.com"), (("", _STREAMLAKE),)),
}


def manners_of(model: ModelFacts) -> Manners:
    """How the vendor of `model` wants to be asked."""
    return _manners_at(model.base_url, model.upstream_name)


def is_known(model: ModelFacts) -> bool:
    """Whether anything is known of the vendor by its address."""
    return manners_of(model) is not _USUAL


def limit_name(model: ModelFacts) -> str:
    """OpenAI's own models want the new name; many compatible vendors know only the old one, and would not limit."""
    known = manners_of(model).limit
    if known:
        return known
    is_openais = model.provider.has_responses or bool(_OPENAIS.match(model.upstream_name))
    return NEW_LIMIT if is_openais else OLD_LIMIT


def in_its_manners(model: ModelFacts, body: dict[str, Any]) -> dict[str, Any]:
    """A client's own chat body for a vendor that would refuse or not obey what OpenAI takes; `body` is changed."""
    manners = manners_of(model)
    if isinstance(body.get("messages"), list):
        body["messages"] = chat_without(body["messages"], manners.takes)
    if manners is _USUAL:
        return body
    if NEW_LIMIT in body and manners.limit == OLD_LIMIT:
        # Where a client says both, the larger is held for.
        body[OLD_LIMIT] = max(body.pop(NEW_LIMIT) or 0, body.get(OLD_LIMIT) or 0) or None
    for name in manners.fixed:
        body.pop(name, None)
    if manners.wants_thoughts and isinstance(body.get("messages"), list):
        body["messages"] = [_with_thoughts(message) for message in body["messages"]]
    return body


def refuses_old_limit(model: ModelFacts) -> bool:
    """Whether its vendor refuses a chat completion with the old name of its limit: "Unsupported parameter: 'max_tokens'
    is not supported with this model. Use 'max_completion_tokens' instead" (400)."""
    generation = generation_of(model)
    return generation is not None and not generation.takes_old_limit and limit_name(model) == NEW_LIMIT


def _with_thoughts(message: Any) -> Any:
    """Most clients do not send back what they have no field for."""
    is_bare = isinstance(message, Mapping) and message.get("tool_calls") and not message.get("reasoning_content")
    return {**message, "reasoning_content": NO_THOUGHTS} if is_bare else message


@lru_cache(maxsize=1_024)
def _manners_at(base_url: str, upstream_name: str) -> Manners:
    host = host_of(base_url)
    if is_openais(host):
        host = "api.openai.com"
    for beginning, manners in _BY_HOST.get(host, ()):
        if upstream_name.startswith(beginning):
            return manners
    return _AZURES if is_azures(host) else _USUAL
