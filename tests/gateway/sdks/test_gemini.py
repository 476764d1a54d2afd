"""The official google-genai SDK against the gateway: its own vendor's models untouched, all others translated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from google.genai import errors, types
from pydantic import BaseModel

from tests.gateway.sdks.vendors import (
    BOTH_WAYS_WHOLE_OR_STREAMED,
    CALL,
    CALL_NANO_USD,
    CALL_USD,
    Sdks,
    Vendors,
    asked_of,
)
from tests.gateway.served import events_of, metadata_of, pause_for_snapshots

# The SDK itself does with aiohttp what aiohttp discourages.
pytestmark = [pytest.mark.slow, pytest.mark.once, pytest.mark.filterwarnings("ignore:Inheritance class")]

# Where a call goes: Google's own format passes, Anthropic's and OpenAI's are translated.
MODELS = ["gemini", "claude", "gpt"]
PICTURE = b"\x89PNG\xfb\xff\xfe"  # whose base64 differs in the two alphabets


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class City(BaseModel):
    name: str
    people: int


def whole_or_streamed(sdk: Any, is_stream: bool, **fields: Any) -> list[types.GenerateContentResponse]:
    """The answers to one call: one, or as many as were streamed."""
    if not is_stream:
        return [sdk.models.generate_content(**fields)]
    return list(sdk.models.generate_content_stream(**fields))


def parts_of(answers: list[types.GenerateContentResponse]) -> list[types.Part]:
    """All that was said, without the empty part at a stream's end."""
    contents = [candidate.content for answer in answers for candidate in answer.candidates or ()]
    return [part for content in contents if content for part in content.parts or () if part != types.Part(text="")]


@pytest.mark.parametrize("model", MODELS)
def test_a_call_is_answered_accounted_and_told_its_cost(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    told = sdks.google(user).models.generate_content(
        model=model,
        contents=f"{CALL} [say:good day]",
        config={"system_instruction": "be brief", "max_output_tokens": 50},
    )
    assert (told.text, told.candidates[0].finish_reason) == ("good day", types.FinishReason.STOP)
    assert (told.usage_metadata.prompt_token_count, told.usage_metadata.candidates_token_count) == (100, 20)
    headers = told.sdk_http_response.headers
    assert (headers["x-spendhub-cost"], headers["x-spendhub-model"]) == (CALL_USD, model)
    span = vendors.served.the_span(user)
    assert (span["cost_nano_usd"], span["status"], span["model"]) == (CALL_NANO_USD, "ok", model)


@pytest.mark.parametrize("model", MODELS)
def test_an_async_stream_comes_word_by_word(vendors: Vendors, user: str, model: str) -> None:
    async def call() -> list[types.GenerateContentResponse]:
        async with vendors.googles_sdk(user).aio as sdk:
            contents = f"{CALL} [say:one two three]"
            return [each async for each in await sdk.models.generate_content_stream(model=model, contents=contents)]

    answers = asyncio.run(call())
    assert [answer.text for answer in answers] == ["one", " two", " three", ""]
    usage = answers[-1].usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (100, 20, 120)
    assert answers[0].sdk_http_response.headers["x-spendhub-decision"] == "allow"
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


def post(vendors: Vendors, path: str, body: Any, **headers: str) -> httpx.Response:
    """Without an SDK."""
    headers = {"x-goog-api-key": vendors.served.key, **headers}
    return httpx.post(vendors.served.server.url + path, headers=headers, json=body, timeout=30)


def says(text: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_ends_with_usage_and_money(vendors: Vendors, user: str, model: str) -> None:
    """The SDK shows of an answer what it knows itself, so this is looked at without it."""
    path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
    answered = post(vendors, path, says(f"{CALL} [say:one two]"), **{"x-spendhub-user": user})
    *_, last = chunks = events_of(answered.text)
    assert ["spendhub" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert last["spendhub"] == {"cost": CALL_USD, "model": model, "remaining": None, "decision": "allow"}
    assert last["usageMetadata"]["totalTokenCount"] == 120


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_a_loop_of_tools_goes_round(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    sdk = sdks.google(user)
    declared = types.FunctionDeclaration.from_callable(client=sdk._api_client, callable=weather)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    contents: list[Any] = [types.UserContent("[calls:2] weather?")]
    first = parts_of(whole_or_streamed(sdk, is_stream, model=model, contents=contents, config=config))
    calls = [part.function_call for part in first if part.function_call]
    assert [(call.name, call.args) for call in calls] == [("weather", {"city": "Köln"})] * 2
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"}))
        for call in calls
    ]
    contents += [types.ModelContent(first), types.UserContent(results)]
    second = whole_or_streamed(sdk, is_stream, model=model, contents=contents, config=config)
    assert "sunny" in "".join(answer.text or "" for answer in second)
    assert [span["status"] for span in vendors.served.spans(user)] == ["ok", "ok"]
    if model == "gemini":
        # Google's own signature has gone through the client and back.
        assert asked_of(vendors.gemini)["contents"][1]["parts"][0]["thoughtSignature"] == "CiQBjz1rXfak"
    elif model == "gpt":
        asked = asked_of(vendors.openai)
        assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool", "tool"]
        assert asked["tools"][0]["function"]["parameters"]["properties"] == {"city": {"type": "string"}}


@pytest.mark.parametrize("model", MODELS)
def test_functions_are_called_automatically(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    told = sdks.google(user).models.generate_content(
        model=model, contents="weather?", config=types.GenerateContentConfig(tools=[weather])
    )
    assert "sunny in Köln" in told.text
    assert len(vendors.served.spans(user)) == 2


def test_a_chat_keeps_its_history_from_model_to_model(vendors: Vendors, user: str) -> None:
    """A turn with another vendor's thoughts and calls goes to Google's model, without what Google would refuse."""
    sdk = vendors.googles_sdk(user)
    tools: Any = [{"function_declarations": [{"name": "weather"}]}]
    config: Any = {"tools": tools, "thinking_config": {"include_thoughts": True, "thinking_budget": 2048}}
    chat = sdk.chats.create(model="claude", config={**config, "max_output_tokens": 4096})
    call = [part for part in parts_of([*chat.send_message_stream("[think:let me see] weather?")]) if part.function_call]
    answer = types.Part.from_function_response(name="weather", response={"output": "sunny"})
    answer.function_response.id = call[0].function_call.id
    history = [*chat.get_history(), types.UserContent([answer])]
    sdk.models.generate_content(model="claude", contents=history, config={**config, "max_output_tokens": 4096})
    thought, called = asked_of(vendors.anthropic)["messages"][1]["content"]
    assert (thought["type"], thought["thinking"], bool(thought["signature"])) == ("thinking", "let me see", True)
    assert called["name"] == "weather"
    sdk.models.generate_content(model="gemini", contents=history, config={"tools": tools})
    signatures = [
        part.get("thoughtSignature") for content in asked_of(vendors.gemini)["contents"] for part in content["parts"]
    ]
    assert [each for each in signatures if each] == ["skip_thought_signature_validator"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_thoughts_are_told_and_counted(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    config = {"thinking_config": {"include_thoughts": True, "thinking_budget": 2048}, "max_output_tokens": 4096}
    text = f"{CALL} [think:let me think] [reasoning:30] [say:yes]"
    answers = whole_or_streamed(sdks.google(user), is_stream, model=model, contents=text, config=config)
    parts = parts_of(answers)
    assert "".join(part.text for part in parts if part.thought) == "let me think"
    assert "".join(part.text for part in parts if not part.thought) == "yes"
    assert answers[-1].usage_metadata.thoughts_token_count == 30
    assert answers[-1].usage_metadata.total_token_count == 150
    span = vendors.served.the_span(user)
    assert (span["output_tokens"], span["reasoning_tokens"]) == (50, 30)


@pytest.mark.parametrize("model", MODELS)
def test_a_schema_is_asked_for_and_parsed(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    said = '{"name": "Oslo", "people": 7}'
    told = sdks.google(user).models.generate_content(model=model, contents=f"[say:{said}]", config=config)
    assert told.parsed == City(name="Oslo", people=7)
    if model == "gpt":
        wanted = asked_of(vendors.openai)["response_format"]["json_schema"]
        assert wanted["strict"] and wanted["schema"]["properties"]["people"]["type"] == "integer"
    elif model == "claude":
        wanted = asked_of(vendors.anthropic)["output_config"]["format"]["schema"]
        assert wanted["properties"]["name"]["type"] == "string"


@pytest.mark.parametrize("model", MODELS)
def test_a_picture_is_shown(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    picture = types.Part.from_bytes(data=PICTURE, mime_type="image/png")
    sdks.google(user).models.generate_content(model=model, contents=[picture, "what is it?"])
    if model == "gpt":
        (turn,) = asked_of(vendors.openai)["messages"]
        assert turn["content"][0]["image_url"]["url"] == "data:image/png;base64,iVBOR/v//g=="
    elif model == "claude":
        (turn,) = asked_of(vendors.anthropic)["messages"]
        assert turn["content"][0]["source"]["data"] == "iVBOR/v//g=="
    else:
        assert asked_of(vendors.gemini)["contents"][0]["parts"][0]["inlineData"]["mimeType"] == "image/png"


def test_its_own_vendor_gets_every_field_untouched(vendors: Vendors, user: str) -> None:
    body = {
        **says("hi"),
        "tools": [{"googleSearch": {}}],
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_LOW_AND_ABOVE"}],
        "generationConfig": {"candidateCount": 1, "noSuchField": [1, 2]},
        "noSuchField": {"a": 1},
    }
    answered = post(vendors, "/v1beta/models/gemini:generateContent", {**body, "spendhub": {"max_cost": 1}})
    assert answered.status_code == 200
    asked = vendors.gemini.served.requests[-1]
    assert (asked["path"], asked["body"]) == ("/v1beta/models/gemini-3.5-flash:generateContent", body)
    assert asked["headers"]["x-goog-api-key"] != vendors.served.key


def test_tokens_are_counted_without_a_vendor_and_without_a_span(vendors: Vendors, user: str) -> None:
    calls, spans = vendors.gemini.served.calls, vendors.served.span_count()
    told = vendors.googles_sdk(user).models.count_tokens(model="gemini", contents="abcdef")
    assert told.total_tokens == 3 + 4 + 2
    assert (vendors.gemini.served.calls, vendors.served.span_count()) == (calls, spans)


@pytest.mark.parametrize("model", ["googles-embed", "embed"])
def test_texts_are_embedded(vendors: Vendors, user: str, model: str) -> None:
    sdk = vendors.googles_sdk(user)
    told = sdk.models.embed_content(
        model=model, contents=["[in:100] ab", "c"], config={"output_dimensionality": 3}
    )  # fmt: skip
    assert [len(each.values) > 0 for each in told.embeddings] == [True, True]
    assert told.usage_metadata.prompt_token_count == 100
    span = vendors.served.the_span(user)
    assert (span["cost_nano_usd"], span["input_tokens"], span["model"]) == (200_000, 100, model)
    asked = asked_of(vendors.gemini if model == "googles-embed" else vendors.openai)
    assert (asked["input"], asked["dimensions"]) == (["[in:100] ab", "c"], 3)
    with pytest.raises(errors.ClientError) as refused:
        sdk.models.embed_content(model=model, contents="a", config={"task_type": "RETRIEVAL_QUERY"})
    assert facts_of(refused.value)["field"] == "requests[0].taskType"


def test_one_text_is_embedded_without_the_sdk(vendors: Vendors, user: str) -> None:
    answered = post(vendors, "/v1beta/models/embed:embedContent", {"content": {"parts": [{"text": "hi"}]}})
    assert answered.json()["embedding"]["values"] and answered.headers["x-spendhub-cost"]


def test_models_are_listed_and_shown(vendors: Vendors, user: str) -> None:
    for version in ("v1beta", "v1"):
        sdk = vendors.googles_sdk(user, api_version=version)
        listed = {model.name: model for model in sdk.models.list()}
        assert {"models/gemini", "models/claude", "models/gpt", "models/embed"} <= set(listed)
        assert listed["models/embed"].supported_actions == ["embedContent", "batchEmbedContents"]
        assert sdk.models.get(model="claude").name == "models/claude"
        assert sdk.models.generate_content(model="gpt", contents="[say:yes]").text == "yes"
        with pytest.raises(errors.ClientError) as missing:
            sdk.models.get(model="no-such")
        assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


def facts_of(error: errors.APIError) -> dict[str, Any]:
    """Our code, and the facts that stand beside it."""
    info, facts = error.details["error"]["details"]
    assert info["reason"] == facts["code"].upper() and info["domain"] == "spendhub"
    found: dict[str, Any] = facts
    return found


@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_a_budget_without_room_is_a_client_error(vendors: Vendors, sdks: Sdks, user: str, is_stream: bool) -> None:
    vendors.served.define_budget(user, "0.00001")
    with pytest.raises(errors.ClientError) as refused:
        whole_or_streamed(sdks.google(user), is_stream, model="gemini", contents="hi")
    error = refused.value
    assert (error.code, error.status) == (402, "RESOURCE_EXHAUSTED")
    facts = facts_of(error)
    assert (facts["code"], facts["remaining"]) == ("budget_exceeded", "0.00001")
    assert error.response.headers["x-spendhub-decision"] == "hard-stop"
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("fault", "kind"), [("429", errors.ClientError), ("400", errors.ClientError),
                                             ("503", errors.ServerError)])  # fmt: skip
def test_a_vendors_error_is_raised_as_what_it_is(
    vendors: Vendors, sdks: Sdks, user: str, model: str, fault: str, kind: type[errors.APIError]
) -> None:
    with pytest.raises(kind) as raised:
        sdks.google(user).models.generate_content(model=model, contents=f"[fault:{fault}]")
    assert raised.value.code == int(fault) and f"fault {fault} on demand" in raised.value.message
    if fault == "429":
        assert raised.value.status == "RESOURCE_EXHAUSTED"
        assert raised.value.response.headers["retry-after"] == "7"
    if model == "gemini":
        assert "details" not in raised.value.details["error"]  # Google's own body, as it came
    assert [span["cost_nano_usd"] for span in vendors.served.spans(user)] == [0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["reset", "cut", "error"])
def test_a_stream_that_breaks_is_an_error_in_the_sdk(vendors: Vendors, user: str, model: str, fault: str) -> None:
    with pytest.raises(errors.ServerError) as broken:
        whole_or_streamed(vendors.googles_sdk(user), True, model=model, contents=f"[fault:{fault}]")
    is_its_own = (model, fault) == ("gemini", "error")  # and told as it is, since it speaks the same
    assert (broken.value.code, facts_of(broken.value)["code"]) == (529 if is_its_own else 502, "upstream_failed")
    assert (broken.value.message == "overloaded on demand") == is_its_own
    (span,) = vendors.served.wait_for_spans(user, 1)
    assert span["status"] == "error" and span["cost_nano_usd"] > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_content_that_is_blocked_is_told_so(vendors: Vendors, user: str, model: str, is_stream: bool) -> None:
    answers = whole_or_streamed(
        vendors.googles_sdk(user), is_stream, model=model, contents="[fault:blocked]", config={"max_output_tokens": 50}
    )
    if model == "gemini":
        assert answers[-1].prompt_feedback.block_reason == types.BlockedReason.OTHER
    else:
        assert answers[-1].candidates[0].finish_reason == types.FinishReason.SAFETY
    assert vendors.served.the_span(user)["status"] == "ok"


def test_a_stream_that_says_why_it_ends_on_each_event_is_told_to_its_end_and_its_search_is_billed(
    vendors: Vendors, user: str
) -> None:
    contents = f"{CALL} [fault:stops] [say:one two three]"
    answers = whole_or_streamed(vendors.googles_sdk(user), True, model="gemini", contents=contents)
    assert "".join(answer.text or "" for answer in answers) == "one two three"
    *_, last = answers
    assert last.candidates[0].grounding_metadata.web_search_queries == ["the weather"]
    assert last.usage_metadata.total_token_count == 120
    (span,) = vendors.served.spans(user)
    assert (span["status"], metadata_of(span)["web_searches"]) == ("ok", 1)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
def test_the_same_stream_is_translated_to_its_end(vendors: Vendors, user: str, path: str) -> None:
    said = f"{CALL} [fault:stops] [say:one two three]"
    asked: dict[str, Any] = {"model": "gemini", "stream": True}
    asked |= {"input": said} if path == "responses" else {"messages": [{"role": "user", "content": said}]}
    asked |= {"max_tokens": 50} if path == "messages" else {}
    answered = post(vendors, f"/v1/{path}", asked, **{"x-spendhub-user": user})
    events = [event for event in events_of(answered.text) if event != "[DONE]"]
    words = [event.get("delta") or (event.get("choices") or [{}])[0].get("delta") for event in events]
    texts = [each if isinstance(each, str) else each.get("content") or each.get("text") or "" for each in words if each]
    assert "".join(texts) == "one two three"
    assert vendors.served.the_span(user)["status"] == "ok"


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_with_nothing_in_it_passes_untouched_and_is_billed(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    verb = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
    told = post(vendors, f"/v1beta/models/gemini:{verb}", says(f"{CALL} [fault:empty]"), **{"x-spendhub-user": user})
    assert told.status_code == 200 and '"candidates"' not in told.text and "promptTokenCount" in told.text
    span = vendors.served.the_span(user)
    assert (span["status"], span["cost_nano_usd"]) == ("ok", CALL_NANO_USD)


def test_an_answer_with_nothing_in_it_is_an_error_to_other_clients_and_billed(vendors: Vendors, user: str) -> None:
    asked = {"model": "gemini", "messages": [{"role": "user", "content": f"{CALL} [fault:empty]"}]}
    told = post(vendors, "/v1/chat/completions", asked, **{"x-spendhub-user": user})
    assert (told.status_code, told.json()["error"]["code"]) == (502, "upstream_failed")
    span = vendors.served.the_span(user)
    assert (span["status"], span["cost_nano_usd"]) == ("error", CALL_NANO_USD)


def test_a_picture_that_its_client_has_no_word_for_is_left_out_with_a_warning(vendors: Vendors, user: str) -> None:
    asked: dict[str, Any] = {"model": "gemini", "max_tokens": 50}
    asked["messages"] = [{"role": "user", "content": f"{CALL} [fault:pictures] [say:]"}]
    told = post(vendors, "/v1/messages", asked, **{"x-spendhub-user": user})
    assert (told.status_code, told.json()["content"]) == (200, [])
    assert told.headers["x-spendhub-warning"] == "left out of this answer, which is translated: inlineData"
    native = post(vendors, "/v1beta/models/gemini:generateContent", says("[fault:pictures] [say:]"))
    assert "x-spendhub-warning" not in native.headers


def test_what_only_google_understands_is_refused_for_another_vendors_model(vendors: Vendors, user: str) -> None:
    calls = vendors.openai.served.calls
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
    with pytest.raises(errors.ClientError) as refused:
        vendors.googles_sdk(user).models.generate_content(model="gpt", contents="hi", config=config)
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert (facts_of(refused.value)["code"], facts_of(refused.value)["field"]) == (
        "not_translatable", "tools[0].googleSearch",
    )  # fmt: skip
    assert vendors.openai.served.calls == calls and vendors.served.spans(user) == []


def test_the_sandbox_answers_googles_sdk_too(vendors: Vendors, user: str) -> None:
    sdk = vendors.googles_sdk(user)
    assert "hello" in sdk.models.generate_content(model="sandbox-small", contents="hello").text
    tools: Any = [{"function_declarations": [{"name": "weather"}]}]
    answers = whole_or_streamed(sdk, True, model="sandbox-small", contents="use tool", config={"tools": tools})
    assert [part.function_call.name for part in parts_of(answers)] == ["weather"]


def test_the_key_may_stand_in_the_query(vendors: Vendors, user: str) -> None:
    url = f"{vendors.served.server.url}/v1beta/models/sandbox-small:generateContent"
    assert httpx.post(f"{url}?key={vendors.served.key}", json=says("hi"), timeout=30).status_code == 200
    wrong = httpx.post(f"{url}?key=sh_wrong", json=says("hi"), timeout=30)
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert (
        httpx.post(f"{vendors.served.url}/chat/completions?key={vendors.served.key}", json={}, timeout=30).status_code
        == 401
    )


@pytest.mark.parametrize("model", MODELS)
def test_who_does_not_ask_for_events_is_answered_a_growing_array(vendors: Vendors, user: str, model: str) -> None:
    url = f"{vendors.served.server.url}/v1beta/models/{model}:streamGenerateContent"
    headers = {"x-goog-api-key": vendors.served.key, "x-spendhub-user": user}
    text, pieces = f"{CALL} [fault:slow-stream] [say:one two]", list[bytes]()
    with httpx.stream("POST", url, headers=headers, json=says(text), timeout=30) as answered:
        assert answered.headers["content-type"] == "application/json; charset=UTF-8"
        pieces += answered.iter_raw()
    assert len(pieces) > 2 and b"one" in b"".join(pieces[:-1])  # it grows while the vendor speaks
    *chunks, last = json.loads(b"".join(pieces))
    assert "".join(part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]) == "one two"
    assert last["spendhub"] == {"cost": CALL_USD, "model": model, "remaining": None, "decision": "allow"}
    broken = post(vendors, url.removeprefix(vendors.served.server.url), says("[fault:error]"), **headers)
    status = "UNKNOWN" if model == "gemini" else "UNAVAILABLE"  # Google's own error keeps its words
    assert (broken.status_code, broken.json()[-1]["error"]["status"]) == (200, status)
    refused = post(vendors, f"/v1beta/models/no-{model}:streamGenerateContent", says("hi"))
    assert (refused.status_code, [each["error"]["code"] for each in refused.json()]) == (404, [404])
    assert [span["status"] for span in vendors.served.spans(user)] == ["ok", "error"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_several_answers_are_one_call_whose_tokens_are_counted_together(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    body = {"model": "gemini", "messages": [{"role": "user", "content": f"{CALL} [say:yes]"}], "n": 3, "user": user}
    asked = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    answered = post(vendors, "/v1/chat/completions", {**body, **asked, "max_tokens": 50})
    told = events_of(answered.text)[:-1] if is_stream else [answered.json()]
    words: dict[int, str] = {}
    for choice in (choice for each in told for choice in each["choices"]):
        said = choice.get("delta") or choice.get("message") or {}
        words[choice["index"]] = words.get(choice["index"], "") + (said.get("content") or "")
    assert words == {0: "yes", 1: "yes", 2: "yes"}
    assert told[-1]["usage"]["completion_tokens"] == 60
    assert asked_of(vendors.gemini)["generationConfig"] == {"candidateCount": 3, "maxOutputTokens": 50}
    span = vendors.served.the_span(user)
    assert (span["output_tokens"], span["cost_nano_usd"]) == (60, CALL_NANO_USD + 40 * 10_000)


def test_a_response_of_openais_is_told_how_likely_googles_model_held_its_words(vendors: Vendors, user: str) -> None:
    told = vendors.openai_sdk().responses.create(
        model="gemini", input="[say:one two]", include=["message.output_text.logprobs"], top_logprobs=2, user=user
    )
    (message,) = told.output
    assert message.type == "message" and message.content[0].type == "output_text"
    likely = message.content[0].logprobs or []
    assert [(each.token, each.logprob, each.bytes) for each in likely] == [
        ("one", -0.5, list(b"one")), (" two", -0.5, list(b" two")),
    ]  # fmt: skip
    assert [[other.token for other in each.top_logprobs] for each in likely] == [["one", "1"], [" two", "1"]]
    assert asked_of(vendors.gemini)["generationConfig"] == {"responseLogprobs": True, "logprobs": 2}
    refused = post(
        vendors, "/v1/responses", {"model": "claude", "input": "hi", "top_logprobs": 2, "max_output_tokens": 9}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_translatable")
    assert refused.json()["error"]["param"] == "top_logprobs"


def test_labels_say_who_a_call_is_for(vendors: Vendors, user: str) -> None:
    post(vendors, "/v1beta/models/sandbox-small:generateContent", {**says("hi"), "labels": {"user": user, "task": "t"}})
    assert vendors.served.the_span(user)["task"] == "t"


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_strict_budgets_limit_is_written_into_the_request(vendors: Vendors, user: str, is_stream: bool) -> None:
    vendors.served.define_budget(user, "0.02", strict=True)
    config = {"max_output_tokens": 100_000}
    whole_or_streamed(vendors.googles_sdk(user), is_stream, model="gemini", contents="hi", config=config)
    limit = asked_of(vendors.gemini)["generationConfig"]["maxOutputTokens"]
    # 0.02 USD, less three times the estimated input and 1,024 tokens, at 10,000 nano_usd per token.
    assert limit == (20_000_000 - (3 * (3 + 4 + 1) + 1_024) * 2_000) // 10_000


def test_the_openai_and_anthropic_sdks_are_answered_by_googles_models(vendors: Vendors, user: str) -> None:
    chat = vendors.openai_sdk().chat.completions
    asked: Any = {"model": "gemini", "user": user, "messages": [{"role": "user", "content": f"{CALL} [say:good day]"}]}
    whole = chat.create(**asked)
    assert (whole.choices[0].message.content, whole.usage.total_tokens) == ("good day", 120)
    chunks = list(chat.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "good day"
    assert chunks[-1].model_extra["spendhub"]["cost"] == CALL_USD
    fields: Any = {"model": "gemini", "max_tokens": 50, "messages": asked["messages"], "metadata": {"user_id": user}}
    message = vendors.anthropic_sdk().messages.create(**fields)
    assert (message.content[0].text, message.usage.output_tokens) == ("good day", 20)
    with vendors.anthropic_sdk().messages.stream(**fields) as stream:
        assert stream.get_final_message().content[0].text == "good day"
    assert [span["cost_nano_usd"] for span in vendors.served.spans(user)] == [CALL_NANO_USD] * 4


@pytest.mark.parametrize("is_stream", [False, True])
def test_their_loops_of_tools_keep_googles_signature(vendors: Vendors, user: str, is_stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    sdk = vendors.anthropic_sdk()

    def say(*messages: Any) -> Any:
        tools: Any = [{"name": "weather", "input_schema": schema}]
        fields: Any = {"model": "gemini", "max_tokens": 50, "messages": list(messages), "tools": tools,
                       "metadata": {"user_id": user}}  # fmt: skip
        if not is_stream:
            return sdk.messages.create(**fields)
        with sdk.messages.stream(**fields) as stream:
            return stream.get_final_message()

    question = {"role": "user", "content": "[calls:2] weather?"}
    first = say(question)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    second = say(question, {"role": "assistant", "content": first.content}, {"role": "user", "content": results})
    assert "sunny" in second.content[0].text
    signed, bare = asked_of(vendors.gemini)["contents"][1]["parts"]
    assert signed["thoughtSignature"] == "CiQBjz1rXfak" and "thoughtSignature" not in bare
    assert json.loads(json.dumps(signed["functionCall"]["args"])) == {"city": "Köln"}


@pytest.mark.parametrize("fault", ["429", "400", "503"])
def test_googles_errors_are_told_in_their_shapes(vendors: Vendors, user: str, fault: str) -> None:
    asked = {"model": "gemini", "max_tokens": 9, "messages": [{"role": "user", "content": f"[fault:{fault}]"}]}
    for path in ("/v1/chat/completions", "/v1/messages"):
        answered = post(vendors, path, asked, authorization=f"Bearer {vendors.served.key}")
        assert answered.status_code == int(fault)
        assert f"fault {fault} on demand" in answered.json()["error"]["message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_failed_without_a_word_is_an_error_and_billed(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    asked: Any = [{"role": "user", "content": f"{CALL} [fault:failed]"}]
    with pytest.raises(openai.APIError) as raised:
        told = vendors.openai_sdk().chat.completions.create(model="gemini", user=user, messages=asked, stream=is_stream)
        list(told)
    assert "the vendor failed without an answer: MALFORMED_FUNCTION_CALL" in raised.value.message
    if not is_stream:
        assert isinstance(raised.value, openai.InternalServerError) and raised.value.status_code == 502
    span = vendors.served.the_span(user)
    assert (span["status"], span["error_code"], span["cost_nano_usd"]) == ("error", "upstream_failed", CALL_NANO_USD)
    assert not span["is_estimated"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_where_a_route_chooses_another_model_answers_in_place_of_one_that_failed(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    route = f"route-{user}"
    wanted = {"name": route, "models": ["gemini"], "fallback": ["gpt"], "strategy": "pinned"}
    vendors.served.native("POST", "routes", json=wanted)
    pause_for_snapshots()
    answered = vendors.served.ask(f"{CALL} [fault:failed]", model=route, user=user, stream=is_stream)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "gpt")
    assert "Grüße" in answered.text
    spans = [(span["model"], span["status"], span["cost_nano_usd"]) for span in vendors.served.spans(user)]
    assert spans == [("gemini", "error", CALL_NANO_USD), ("gpt", "ok", CALL_NANO_USD)]


@pytest.mark.parametrize("is_stream", [False, True])
def test_words_of_an_answer_that_failed_are_told_as_cut_in_each_dialect(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    text = f"{CALL} [fault:failed-late] [say:good day]"
    asked: Any = [{"role": "user", "content": text}]
    chat, openais = vendors.openai_sdk().chat.completions, vendors.openai_sdk().responses
    if is_stream:
        chunks = [chunk.choices[0] for chunk in chat.create(model="gemini", user=user, messages=asked, stream=True)]
        finish, said = chunks[-1].finish_reason, "".join(chunk.delta.content or "" for chunk in chunks)
        with openais.stream(model="gemini", user=user, input=text) as events:
            response = next(event.response for event in events if event.type == "response.incomplete")
        sdk = vendors.anthropic_sdk()
        metadata: Any = {"user_id": user}
        with sdk.messages.stream(model="gemini", max_tokens=50, metadata=metadata, messages=asked) as stream:
            message = stream.get_final_message()
    else:
        choice = chat.create(model="gemini", user=user, messages=asked).choices[0]
        finish, said = choice.finish_reason, choice.message.content
        response = openais.create(model="gemini", user=user, input=text)
        message = vendors.anthropic_sdk().messages.create(
            model="gemini", max_tokens=50, metadata={"user_id": user}, messages=asked
        )
    assert (finish, said) == ("length", "good day")
    assert (response.status, response.output_text) == ("incomplete", "good day")
    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "good day")
    assert [(span["status"], span["cost_nano_usd"]) for span in vendors.served.spans(user)] == [
        ("ok", CALL_NANO_USD)
    ] * 3


@pytest.mark.parametrize("is_stream", [False, True])
def test_googles_sdk_is_told_googles_own_reason_for_an_answer_that_failed(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    sdk = vendors.googles_sdk(user)
    answers = whole_or_streamed(sdk, is_stream, model="gemini", contents=f"{CALL} [fault:failed]")
    assert answers[-1].candidates[0].finish_reason == types.FinishReason.MALFORMED_FUNCTION_CALL
    assert vendors.served.the_span(user)["status"] == "ok"
