"""Reads from a request what it may be billed beside plain tokens: a service tier, searches of the web, other tools that
the vendor runs, models of its own choice, a cache that lives longer. Most requests have none of it, and pay one look at
their fields' names.

Sources: the request parameters in OpenAI's, Anthropic's, Google's and OpenRouter's API references, OpenAI's guide to
predicted outputs. docs/pricing.md has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from routing.extras import NO_EXTRAS, USUAL_WEB_SEARCHES, Extras, always_searches
from routing.model_facts import ModelFacts
from routing.service_tiers import tier_name
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT, RESPONSES, Wire
from routing.upstreams.registry import passes_untouched
from spendhub.gateway.dialect import CallRequest

# Google's, and two of Anthropic's.
_OTHER_TIER_FIELDS = ("serviceTier", "speed", "inference_geo")
# Beside `tools`: servers, plugins and searches that the vendor asks, what it keeps and may have tools of its own
# (OpenAI's stored prompts, Google's cached contents), and the summing up of a long context, a call within the call.
_WORK_AT_THE_VENDOR = (
    "mcp_servers", "plugins", "search_parameters", "enable_search", "data_sources", "prompt", "cachedContent",
    "compaction", "deferred",
)  # fmt: skip
# Of these, options without a word in them are on all the same.
_ON_WHEN_EMPTY = ("search_parameters", "compaction")
# By which the vendor may let others answer than the model whose price is known: models (OpenRouter's, Anthropic's) or
# hosts that each have a price of their own, by name or as an account keeps them.
_OTHERS_MAY_ANSWER = ("models", "fallbacks", "route", "preset", "provider", "providerOptions")
# What is foretold of an answer and not used is billed as output, and OpenAI's guide has no output limit beside it.
_NO_LIMIT_HOLDS = ("prediction",)
_UNBOUNDED = (*_WORK_AT_THE_VENDOR, *_OTHERS_MAY_ANSWER, *_NO_LIMIT_HOLDS)
# What Google takes in its own words beside OpenAI's, and of it what cannot cost more: all else may.
_GOOGLES_OWN = "extra_body"
_GOOGLES_HARMLESS = frozenset(("thinking_config", "thinkingConfig", "safety_settings", "safetySettings"))
# Answers of which only the best is shown, and all are billed (vLLM).
_UNSEEN_CHOICES = "best_of"
_FIELDS = frozenset(
    (
        "service_tier", *_OTHER_TIER_FIELDS, "tools", "web_search_options", *_UNBOUNDED, _GOOGLES_OWN, _UNSEEN_CHOICES,
        "context_management", "prompt_cache_options", "cache_control",
    )
)  # fmt: skip
_SEARCHES = "web_search"
# Tools that run at the client, by the beginning of their type. What is not known to runs at the vendor: new ones do.
_CLIENTS = (
    "function",
    "custom",
    "bash",
    "text_editor",
    "computer",
    "memory",
    "local_shell",
    "apply_patch",
    "namespace",
)
# Google's tools have a name each in place of a type.
_GOOGLES_SEARCHES = ("googleSearch", "googleSearchRetrieval", "google_search", "enterpriseWebSearch")
_GOOGLES_CLIENTS = frozenset(("functionDeclarations", "computerUse"))
LONG_LIVED = ("1h", "12h")


def extras_of(request: CallRequest) -> Extras:
    """What the request asks for beside plain tokens; NO_EXTRAS for most."""
    body = request.body
    if _FIELDS.isdisjoint(body):
        return NO_EXTRAS
    # OpenAI's two words for one tier; its answers know the second.
    said = "priority" if body.get("service_tier") == "fast" else body.get("service_tier")
    found = Extras(
        service_tier=tier_name(said, *(body.get(name) for name in _OTHER_TIER_FIELDS)),
        writes_long_cache=_is_long(body.get("prompt_cache_options")) or _is_long(body.get("cache_control")),
    )
    if body.get("web_search_options") is not None:
        found = replace(found, vendor_tools="web_search_options", web_searches=1, untold_searches=1)
    elif field := _unbounded(body):
        found = replace(found, vendor_tools=field)
    tools = body.get("tools")
    if isinstance(tools, list):
        for position, tool in enumerate(tools):
            if isinstance(tool, dict) and not _is_clients(tool):
                found = _with_tool(found, tool, f"tools[{position}]", body)
    return NO_EXTRAS if found == NO_EXTRAS else found


def extras_at(extras: Extras, request: CallRequest, model: ModelFacts) -> Extras:
    """`extras` as they are with `model`: some models search unasked. Where they are asked by Responses the answer tells
    of it; by chat completions, which calls of every other dialect come to, it does not."""
    if extras.untold_searches or not always_searches(model):
        return extras
    is_told = request.wire == RESPONSES and passes_untouched(model, RESPONSES)
    searches = max(extras.web_searches, 1)
    return replace(extras, vendor_tools="model", web_searches=searches, untold_searches=0 if is_told else 1)


def worst_case(extras: Extras, request: CallRequest, model: ModelFacts) -> tuple[Extras, Mapping[str, Any]]:
    """What a strict budget must hold for: `extras` with what the vendor's account may add to a request that does not
    say it, and the fields that are written into the request to keep the account from it.

    A project of OpenAI's may be set to another tier, a workspace of Anthropic's to another place.
    """
    tiers, pins, tier = model.prices.by_tier, {}, extras.service_tier
    if "priority" in tiers and not tier and model.provider.has_responses and not _says_its_tier(request, model):
        pins["service_tier"] = "default"
    if "us" in tiers and request.body.get("inference_geo") is None:
        tier = tier_name(*tier.split("+"), "us")
    is_long = extras.writes_long_cache or _says_long(request.body)
    if tier == extras.service_tier and is_long == extras.writes_long_cache:
        return extras, pins
    return replace(extras, service_tier=tier, writes_long_cache=is_long), pins


def with_untold(usage: TokenUsage, extras: Extras, wire: Wire) -> TokenUsage:
    """`usage` with what was asked for and the answer has no word for; `usage` itself where it has told all.

    Chat completions tell neither of searches nor of how long what was written into the cache is kept. `wire` is the
    client's: a `ttl` counts only where its own body reaches the vendor, since translating drops or refuses it.
    """
    if extras.untold_searches and not usage.web_searches:
        usage = replace(usage, web_searches=extras.untold_searches)
    if extras.writes_long_cache and wire == CHAT and usage.cache_write_tokens and not usage.cache_write_1h_tokens:
        usage = replace(usage, cache_write_tokens=0, cache_write_1h_tokens=usage.cache_write_tokens)
    return usage


def _says_its_tier(request: CallRequest, model: ModelFacts) -> bool:
    """Whether the vendor will read a tier in the client's own words."""
    return passes_untouched(model, request.wire) and request.body.get("service_tier") not in (None, "auto")


def _unbounded(body: Mapping[str, Any]) -> str:
    """The field by which the vendor may do more than answer within the limit, at the known price; tools are looked at
    apart."""
    for name in _UNBOUNDED:
        if body.get(name) or (name in _ON_WHEN_EMPTY and body.get(name) == {}):
            return name
    if _is_more_than_harmless(body.get(_GOOGLES_OWN)):
        return _GOOGLES_OWN
    if body.get(_UNSEEN_CHOICES) not in (None, 1):
        return _UNSEEN_CHOICES
    return "context_management" if _compacts(body.get("context_management")) else ""


def _is_more_than_harmless(googles_own: Any) -> bool:
    """Whether Google's own words within OpenAI's format say what may cost more: `cached_content`, tools."""
    if not googles_own:
        return False
    said = googles_own.get("google") if isinstance(googles_own, Mapping) and len(googles_own) == 1 else None
    return not isinstance(said, Mapping) or not said.keys() <= _GOOGLES_HARMLESS


def _compacts(management: Any) -> bool:
    """Whether a context that has grown long is summed up; the other edits only leave something out."""
    edits = management.get("edits") if isinstance(management, Mapping) else management
    return isinstance(edits, list) and any(
        isinstance(edit, Mapping) and str(edit.get("type")).startswith("compact") for edit in edits
    )


def _is_clients(tool: Mapping[str, Any]) -> bool:
    """Whether it runs at the client, as nearly all do. Those without a type are Anthropic's, or Google's."""
    kind = tool.get("type")
    if kind is None:
        return "name" in tool or tool.keys() <= _GOOGLES_CLIENTS
    if kind == "shell":
        place = tool.get("environment")
        return isinstance(place, Mapping) and place.get("type") == "local"
    return str(kind).startswith(_CLIENTS) or (kind == "tool_search" and tool.get("execution") == "client")


def _with_tool(found: Extras, tool: Mapping[str, Any], field: str, body: Mapping[str, Any]) -> Extras:
    named = str(tool.get("type"))
    if any(name in tool for name in _GOOGLES_SEARCHES):
        return replace(found, vendor_tools=field, web_searches=USUAL_WEB_SEARCHES)
    if named.startswith(_SEARCHES):
        bound = min(_bound(tool.get("max_uses")), _bound(body.get("max_tool_calls")))
        return replace(found, vendor_tools=field, web_searches=bound)
    return found if found.vendor_tools else replace(found, vendor_tools=field)


def _bound(value: Any) -> int:
    """How many searches are held for where the request allows so many."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return min(value, USUAL_WEB_SEARCHES) if is_count else USUAL_WEB_SEARCHES


def _is_long(options: Any) -> bool:
    return isinstance(options, Mapping) and options.get("ttl") in LONG_LIVED


def _says_long(value: Any) -> bool:
    """Whether anything below is to be cached for longer. Bodies have at most 256 levels."""
    if isinstance(value, dict):
        return value.get("ttl") in LONG_LIVED or any(map(_says_long, value.values()))
    return isinstance(value, list) and any(map(_says_long, value))
