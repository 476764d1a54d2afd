"""Makes routing/data/catalog.json: which models there are, what they can do, how much they take.

    python -m routing.data.extract_catalog model_prices_and_context_window_backup.json > routing/data/catalog.json

The input is litellm's model file (MIT, see NOTICE): `pip download --no-deps litellm`, then unzip that
one member. Run by a maintainer when vendors bring out models; never at run time. Prices are not
taken from it: `catalog update` takes them from genai-prices, which knows their history. Rules for what is
derived (quality tier, what a model is good at) are in docs/pricing.md, "What the catalog says of a model".
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, date, datetime
from typing import Any

from genai_prices.data import providers as genai_providers

from routing.upstreams.openai.only_responses import is_named_only_at_responses

# litellm's provider -> (ours, genai-prices' provider, prefix of litellm's ids, prefix of our names)
VENDORS = {
    "openai": ("openai", "openai", "", ""),
    "anthropic": ("anthropic", "anthropic", "", ""),
    "gemini": ("google", "google", "gemini/", ""),
    "mistral": ("mistral", "mistral", "mistral/", ""),
    "deepseek": ("deepseek", "deepseek", "deepseek/", ""),
    "xai": ("xai", "x-ai", "xai/", ""),
    "groq": ("groq", "groq", "groq/", "groq/"),
    "bedrock": ("bedrock", "aws", "", ""),
    "bedrock_converse": ("bedrock", "aws", "", ""),
    "moonshot": ("moonshot", "moonshotai", "moonshot/", ""),
    "zai": ("zai", "zai", "zai/", ""),
}
PROVIDERS: list[dict[str, Any]] = [
    {
        "name": "openai",
        "dialect": "openai",
        "base_url": "https://api.openai.com/v1",
        "api_key_env": "OPENAI_API_KEY",
        "has_responses": True,
    },
    {
        "name": "anthropic",
        "dialect": "anthropic",
        "base_url": "https://api.anthropic.com",
        "api_key_env": "ANTHROPIC_API_KEY",
    },
    {
        "name": "google",
        "dialect": "gemini",
        "base_url": "https://generativelanguage.googleapis.com/v1beta",
        "api_key_env": "GEMINI_API_KEY",
    },
    {
        "name": "bedrock",
        "dialect": "bedrock",
        "base_url": "https://bedrock-runtime.us-east-1.amazonaws.com",
        "api_key_env": "AWS_BEARER_TOKEN_BEDROCK",
    },
    # All others answer in OpenAI's chat format at these addresses.
    *(
        {"name": name, "dialect": "openai", "base_url": base_url, "api_key_env": env}
        for name, base_url, env in (
            ("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
            ("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
            ("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
            ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
            ("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
            ("zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
        )
    ),
]
SPEAK_RESPONSES = {provider["name"] for provider in PROVIDERS if provider.get("has_responses")}
# What a vendor's interface can do, as litellm's file says it.
FLAGS = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json",
    "supports_reasoning": "reasoning",
    "supports_audio_input": "audio",
    "supports_pdf_input": "files",
    "supports_prompt_caching": "caching",
}
# Made for other things than answering text: speech, images, moderation, sentence pieces.
NOT_FOR_TEXT = re.compile(
    r"-tts|transcribe|realtime|-live|image|audio-preview|lyria|guard|ocr|robotics|moderation|container|learnlm|-exp-|^ft:"
    r"|@|fim-latest|multimodal-embeddings|embed-image|marengo|pegasus"
)
# Left out, since the price packages contradict each other without a reason: unpriced is better than wrong.
CONTRADICTED = {
    "mistral-large-latest",  # 2/6 or 0.50/1.50: the alias has moved on, and one package has not
    "open-mistral-nemo",  # 0.15/0.15 or 0.30/0.30
    "grok-code-fast",  # 0.20/1.50 or 1/2: redirected to another model
    "grok-code-fast-1-0825",
    "deepseek-v3.2",  # 0.2288/0.3432 (a reseller's) or 0.28/0.40
    "eu.amazon.nova-2-lite-v1:0",  # Nova costs more in Europe, and genai-prices has its American price only
    "eu.amazon.nova-lite-v1:0",
    "eu.amazon.nova-micro-v1:0",
    "eu.amazon.nova-pro-v1:0",
    "claude-sonnet-4-5-20250929-v1:0",  # no id of Bedrock's: its vendor prefix is missing
}
# Bedrock's inference profiles: global ones and those of the two largest regions are enough for a start.
REGION = re.compile(r"^(us-gov|apac|au|jp|in|ca)\.")
PREMIUM_USD_PER_MTOK_OUT = 10
STANDARD_USD_PER_MTOK_OUT = 1
LONG_CONTEXT_TOKENS = 200_000


def main(path: str, today: date) -> None:
    """Prints the catalog made from the file at `path`."""
    with open(path, encoding="utf-8") as file:
        facts: dict[str, dict[str, Any]] = json.load(file)
    models: dict[str, dict[str, Any]] = {}
    for litellm_id, fact in facts.items():
        model = _model(litellm_id, fact, today)
        if model is not None:
            models.setdefault(model["name"], model)
            _check_where_it_is_served(model, str(fact["mode"]))
    catalog = {
        "source": "litellm 1.109.1 model_prices_and_context_window_backup.json (MIT)",
        "checked_on": today.isoformat(),
        "providers": PROVIDERS,
        "models": [models[name] for name in sorted(models, key=lambda name: (models[name]["provider"], name))],
    }
    # One model a line: a refresh then reads well as a diff.
    head, tail = json.dumps({**catalog, "models": "@"}, indent=1).split('"@"')
    lines = ",\n".join(json.dumps(model) for model in catalog["models"])
    print(f"{head}[\n{lines}\n]{tail}")


def _check_where_it_is_served(model: dict[str, Any], mode: str) -> None:
    """Tells the maintainer where the names that calls go by have to be brought up to date."""
    if model["provider"] in SPEAK_RESPONSES and (mode == "responses") != is_named_only_at_responses(model["name"]):
        print(f"{model['name']} has the mode {mode}: see upstreams/openai/only_responses.py", file=sys.stderr)


def _model(litellm_id: str, fact: dict[str, Any], today: date) -> dict[str, Any] | None:
    vendor = VENDORS.get(str(fact.get("litellm_provider")))
    mode = fact.get("mode")
    if vendor is None or mode not in ("chat", "responses", "embedding"):
        return None
    provider, genai_id, their_prefix, our_prefix = vendor
    if mode == "responses" and provider not in SPEAK_RESPONSES:
        return None  # it could not be asked
    upstream_name = litellm_id.removeprefix(their_prefix)
    retires_on = str(fact.get("deprecation_date") or "")
    if upstream_name in CONTRADICTED or NOT_FOR_TEXT.search(upstream_name):
        return None
    if provider != "groq" and "/" in upstream_name:
        return None
    if retires_on and retires_on <= today.isoformat():
        return None
    if provider == "bedrock" and REGION.match(upstream_name):
        return None
    genai_provider = next(known for known in genai_providers if known.id == genai_id)
    priced = genai_provider.find_model(upstream_name)
    if priced is None or priced.deprecated or not fact.get("input_cost_per_token"):
        return None
    output_usd = 1e6 * float(fact.get("output_cost_per_token") or 0)
    model = {
        "name": our_prefix + upstream_name,
        "provider": provider,
        "kind": "embedding" if mode == "embedding" else "chat",
        "quality": _quality(output_usd),
        "context_tokens": _whole(fact.get("max_input_tokens")),
        "max_output_tokens": None if mode == "embedding" else _whole(fact.get("max_output_tokens")),
        "capabilities": _capabilities(upstream_name, provider, mode, fact, output_usd),
        "genai_prices": f"{genai_id}:{priced.id}",
        "source": str(fact.get("source") or ""),
    }
    if our_prefix:
        model["upstream_name"] = upstream_name
    if retires_on:
        model["retires_on"] = retires_on
    return model


def _quality(output_usd: float) -> str:
    if output_usd >= PREMIUM_USD_PER_MTOK_OUT:
        return "premium"
    return "standard" if output_usd >= STANDARD_USD_PER_MTOK_OUT else "economy"


def _capabilities(name: str, provider: str, mode: str, fact: dict[str, Any], output_usd: float) -> list[str]:
    if mode == "embedding":
        return ["embeddings"]
    can = {capability for flag, capability in FLAGS.items() if fact.get(flag)}
    can |= {"streaming", "general", "summarization", "translation"}
    quality = _quality(output_usd)
    if "tools" in can or re.search(r"code|codestral|devstral", name):
        can.add("code")
    if quality != "economy":
        can |= {"analysis", "creative"}
    if "reasoning" in can:
        can.add("math")
    if quality == "premium":
        can.add("evaluation")
        if "reasoning" in can:
            can.add("complex-reasoning")
    if (_whole(fact.get("max_input_tokens")) or 0) >= LONG_CONTEXT_TOKENS:
        can.add("long-context")
    if provider in ("deepseek", "moonshot", "zai") or re.search(r"qwen|glm|kimi|deepseek", name):
        can.add("chinese")
    return sorted(can)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value > 0 else None


if __name__ == "__main__":
    main(sys.argv[1], datetime.now(UTC).date())
