"""What the generations of OpenAI's models take differently. OpenAI and Azure answer 400 to what one does not take.

Sources, read on 2026-11-29:
- Efforts and their default, by name: OpenAI's reasoning guide (developers.openai.com/api/docs/guides/reasoning); what
  each model answers when it is asked: github.com/enricoros/big-AGI, issues 944 and 1159;
  community.openai.com/t/1371738, "Compatibility Matrix"; the profiles of pydantic-ai-slim 2.68,
  `pydantic_ai/profiles/openai.py`, which names the months in which it has asked each model; docs.litellm.ai's pull
  requests 1066 (5.1 and 5.2 do not think unless asked to, 5.5 does) and 1173 (`max` is for responses).
- "Unsupported value: 'temperature' does not support 0.2 with this model": the reasoning guide, learn.microsoft.com,
  "Azure OpenAI reasoning models"; taken where 5.1 and later do not think: github.com/vercel/ai, issue 10932;
  gpt-5-chat-latest takes it: github.com/confident-ai/deepeval, pull request 2121. "Model incompatible request arguments
  supplied: frequency_penalty, presence_penalty, temperature, top_p" by models that search:
  github.com/ChatGPTNextWeb/NextChat, issue 6569.
- "Unsupported parameter: 'stop' is not supported with this model": OpenAI's API reference (o3, o4-mini);
  github.com/huggingface/smolagents, pull requests 1662 and 1868 (5, 5.1, which does not think there);
  github.com/bolna-ai/bolna, pull request 1019 (6).
- "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions":
  github.com/BerriAI/litellm, pull request 34569, and github.com/livekit/agents, pull request 7169 (5.4 takes them where
  no effort is said).
- OpenRouter leaves out what a model does not take: openrouter.ai/docs/api-reference/overview, "Non-standard
  parameters".
- gpt-oss: groq's and AWS's documentation of its three efforts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from routing.model_facts import ModelFacts
from routing.unusual import Unusual
from routing.upstreams.base import CHAT, RESPONSES, Wire
from routing.upstreams.openai.addresses import host_of, is_azures, is_openais

# Settings of how words are chosen, as a chat completion calls them.
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
NO_THINKING, USUAL_THINKING = "none", "medium"

# gpt-5, openai/gpt-5.2, gpt-5-2025-08-07, which is no 5.20; gpt-35-turbo is Azure's 3.5.
_GPT = re.compile(r"(?:^|[^a-z0-9])(?:chat)?gpt-(?P<major>\d)(?:[.-](?P<minor>\d{1,2}))?(?!\d)(?P<line>.*)")
_O_SERIES = re.compile(r"(?:^|[/:])o\d(?:-|$)")
_O_WITHOUT_STOP = re.compile(r"o3(?!-mini)|o4")
_UNTHINKING = re.compile(r"(?:^|[^a-z0-9])gpt-(?:35|audio|realtime)")
_CHAT_LATEST = re.compile(r"(?:^|/)chat-latest$")
_OPENROUTER = "openrouter.ai"


@dataclass(frozen=True, slots=True)
class Generation:
    """`efforts`: what `reasoning_effort` may say in a chat completion, the least first; none: there is no such field.
    Unless one is said, it is the `usual_effort`, "" for one that never thinks. `takes_max`: in a response `max` too.
    `takes_sampling`: settings of how words are chosen and log probabilities, also where it thinks; else only where its
    effort is none. `takes_tools`: in a chat completion, also where it thinks. `takes_old_limit`: `max_tokens`."""

    efforts: tuple[str, ...] = ()
    usual_effort: str = ""
    takes_max: bool = False
    takes_sampling: bool = False
    takes_stop: bool = False
    takes_tools: bool = True
    takes_old_limit: bool = False

    def nearest_effort(self, wanted: str) -> str:
        """The least that it takes of what thinks as much as `wanted` or more, else the most; "" where it takes none.
        A word that nobody knows is taken for the usual one."""
        level = EFFORTS.index(wanted if wanted in EFFORTS else USUAL_THINKING)
        enough = (effort for effort in self.efforts if EFFORTS.index(effort) >= level)
        return next(enough, self.efforts[-1] if self.efforts else "")

    def samples_at(self, effort: str) -> bool:
        """Whether it takes settings of how words are chosen, and gives log probabilities, at `effort`, "" for the usual
        one."""
        return self.takes_sampling or (NO_THINKING in self.efforts and (effort or self.usual_effort) == NO_THINKING)


_LOW_TO_HIGH = ("low", "medium", "high")
_TO_XHIGH = (*_LOW_TO_HIGH, "xhigh")
_PLAIN = Generation(takes_sampling=True, takes_stop=True, takes_old_limit=True)
_SEARCHING = Generation(takes_stop=True, takes_old_limit=True)
_OSS = Generation(_LOW_TO_HIGH, USUAL_THINKING, takes_sampling=True, takes_stop=True, takes_old_limit=True)
_O = Generation(_LOW_TO_HIGH, USUAL_THINKING)
_OF_CHATGPT = Generation((USUAL_THINKING,), USUAL_THINKING)
_GPT_5 = Generation(("minimal", *_LOW_TO_HIGH), USUAL_THINKING)
_GPT_5_PRO = Generation(("high",), "high")
_GPT_5_1 = Generation((NO_THINKING, *_LOW_TO_HIGH), NO_THINKING)
_GPT_5_2 = Generation((NO_THINKING, *_TO_XHIGH), NO_THINKING)
_GPT_5_4 = replace(_GPT_5_2, takes_tools=False)
_GPT_5_5 = replace(_GPT_5_4, usual_effort=USUAL_THINKING)
_GPT_5_6 = replace(_GPT_5_5, takes_max=True)
_NEWEST = replace(_GPT_5_6, efforts=_TO_XHIGH)
_LATER_PRO = Generation(("medium", "high", "xhigh"), USUAL_THINKING)
# Of the sixth those that need not think.
_MAY_NOT_THINK = ("-luna", "-terra")


def generation_of(model: ModelFacts) -> Generation | None:
    """What `model` takes; None for one that is not known to be OpenAI's. One of OpenAI's that is newer than we know is
    taken for one that always thinks.

    It is known by the vendor's name for it, whoever hosts it; at Azure, where that is a deployment's, by its own too.
    """
    return _generation_of(model.upstream_name, model.name, model.base_url)


# Asked of every model for a call to `auto` that offers tools.
@lru_cache(maxsize=4_096)
def _generation_of(upstream_name: str, name: str, base_url: str) -> Generation | None:
    return _known(upstream_name) or (_known(name) if is_azures(host_of(base_url)) else None)


def refused_untouched(found: Generation, unusual: Unusual, wire: Wire) -> list[str]:
    """What of `unusual`, asked by `wire` and passed untouched, a model of the generation `found` does not take: to be
    read after "it does not take"."""
    return list(_refused(found, unusual, wire))


def refused_translated(found: Generation, unusual: Unusual) -> list[str]:
    """The part of `refused_untouched` that holds where the request is translated: what can neither be left out nor said
    otherwise."""
    is_silent = not found.samples_at(NO_THINKING)
    refused = ("" if found.takes_stop else unusual.stop, unusual.logprobs if is_silent else "")
    return [field for field in refused if field]


def is_resold(found: Generation, model: ModelFacts) -> bool:
    """Whether the model, which is of the generation `found`, is served by a reseller, known by the vendor's name before
    the model's: OpenRouter and most others leave out themselves what a model does not take. Open weights are called so
    by those who run them."""
    host = host_of(model.base_url)
    if host == _OPENROUTER:
        return True
    is_resellers_name = "/" in model.upstream_name and found is not _OSS
    return is_resellers_name and not (is_openais(host) or is_azures(host))


def _refused(generation: Generation, unusual: Unusual, wire: Wire) -> Iterable[str]:
    effort = unusual.effort
    is_known = effort in generation.efforts or (effort == "max" and generation.takes_max and wire == RESPONSES)
    if effort and not is_known:
        yield f"{'reasoning_effort' if wire == CHAT else 'reasoning.effort'} {effort}"
    if not generation.samples_at(effort):
        yield from unusual.sampling
        if unusual.logprobs:
            yield unusual.logprobs
    if unusual.stop and not generation.takes_stop:
        yield unusual.stop
    takes_tools = generation.takes_tools or wire != CHAT or (effort or generation.usual_effort) == NO_THINKING
    if unusual.has_tools and not takes_tools:
        can_rest = NO_THINKING in generation.efforts
        yield f"tools unless reasoning_effort is {NO_THINKING}" if can_rest else "tools in chat completions"


def _known(name: str) -> Generation | None:
    name = name.casefold()
    if "-search-" in name and _GPT.search(name):
        return _SEARCHING
    if "gpt-oss" in name:
        return _OSS
    if _UNTHINKING.search(name):
        return _PLAIN
    if _CHAT_LATEST.search(name):
        return _OF_CHATGPT
    if found := _O_SERIES.search(name):
        return _O if _O_WITHOUT_STOP.search(name, found.start()) else replace(_O, takes_stop=True)
    if found := _GPT.search(name):
        return _of_gpt((int(found["major"]), int(found["minor"] or 0)), found["line"])
    return None


def _of_gpt(version: tuple[int, int], line: str) -> Generation:
    if version < (5, 0) or (version == (5, 0) and line.startswith("-chat")):
        return _PLAIN
    if line.startswith("-chat"):
        return _OF_CHATGPT
    if line.startswith("-pro"):
        return _GPT_5_PRO if version == (5, 0) else _LATER_PRO
    if line.startswith("-codex"):
        knows_xhigh = version >= (5, 2) or line.startswith("-codex-max")
        return replace(_O, efforts=_TO_XHIGH) if knows_xhigh else _O
    if version >= (6, 0):
        may_rest = line.startswith(_MAY_NOT_THINK) or (version == (6, 0) and line.startswith("-sol"))
        return _GPT_5_6 if may_rest else _NEWEST
    for since, generation in (((5, 6), _GPT_5_6), ((5, 5), _GPT_5_5), ((5, 4), _GPT_5_4), ((5, 2), _GPT_5_2)):
        if version >= since:
            return generation
    return _GPT_5_1 if version == (5, 1) else _GPT_5
