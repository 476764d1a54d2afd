"""Google takes its fields' names in both spellings, `generationConfig` and `generation_config`; we read the first.

Source: Protocol Buffers documentation, "JSON format": parsers accept the original name of a field as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Those that we read. Others are left as they are: they may be the client's own, below a field that we do not know.
_READ = (
    "systemInstruction", "generationConfig", "toolConfig", "safetySettings", "cachedContent", "serviceTier",
    "generateContentRequest", "inlineData", "fileData", "mimeType", "fileUri", "displayName", "functionCall",
    "functionResponse", "willContinue", "thoughtSignature", "executableCode", "codeExecutionResult", "videoMetadata",
    "mediaResolution", "functionDeclarations", "parametersJsonSchema", "responseJsonSchema", "functionCallingConfig",
    "allowedFunctionNames", "retrievalConfig", "googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext",
    "googleMaps", "fileSearch", "computerUse", "stopSequences", "responseMimeType", "responseSchema",
    "responseModalities", "candidateCount", "maxOutputTokens", "topP", "topK", "presencePenalty", "frequencyPenalty",
    "responseLogprobs", "speechConfig", "imageConfig", "enableEnhancedCivicAnswers", "thinkingConfig",
    "includeThoughts", "thinkingBudget", "thinkingLevel", "taskType", "outputDimensionality",
)  # fmt: skip
_CAMEL: Mapping[str, str] = {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name): name for name in _READ}
# What is below them was named by the client, or is a schema (see schemas.py): kept letter for letter.
_FREE = frozenset(("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema",
                   "labels", "spendhub"))  # fmt: skip
# Bodies without such a name, as Google's SDKs write them, are not walked through.
_HAS_SNAKES = re.compile(rb'"[a-z]+(?:_[a-z]+)+"\s*:')


def with_googles_names(raw: bytes, body: dict[str, Any]) -> dict[str, Any]:
    """`body`, which was read from `raw`, with the names that we read in camel case; itself where they are already."""
    return _renamed(body) if _HAS_SNAKES.search(raw) else body


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        name = _CAMEL.get(name, name)
        found[name] = value if name in _FREE else _inside(value)
    return found


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return _renamed(value)
    return [_inside(each) for each in value] if isinstance(value, list) else value
