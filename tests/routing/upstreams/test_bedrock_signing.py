"""Who asks Bedrock: an API key, or a signature that AWS's own code finds right. And AWS's own client against the fake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from routing.conversation import Conversation, Message, Text
from routing.errors import CredentialUnusable, SigningUnavailable, UpstreamRefused
from routing.upstreams.base import UpstreamRequest
from routing.upstreams.bedrock.dialect import BedrockDialect
from tests.fakes.bedrock_upstream import (
    ACCESS_KEY,
    ACCESS_KEY_ID,
    REGION,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    TEMPORARY_KEY,
    FakeBedrock,
)
from tests.fakes.vendor import WORDS_OF_ANSWER
from tests.routing.facts import model_facts
from tests.routing.upstreams.vendors import Spoken, ask, ask_text

ARN = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


def request(credential: str, base_url: str = "https://bedrock-runtime.eu-west-1.amazonaws.com") -> UpstreamRequest:
    model = model_facts("amazon.nova-lite-v1:0", dialect="bedrock", base_url=base_url)
    asked = Conversation((Message("user", (Text("hi"),)),))
    return BedrockDialect().translated_request(model, credential, asked, is_stream=False)


def test_an_api_key_is_a_bearer_token_and_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    key = "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz9BY3Rpb249Q2FsbA=="
    assert request(key).headers["authorization"] == f"Bearer {key}"


def test_an_access_key_signs_for_the_region_of_the_address() -> None:
    headers = request(ACCESS_KEY).headers
    scope, signed, signature = headers["authorization"].split(", ")
    day = headers["x-amz-date"][:8]
    assert scope == f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{day}/eu-west-1/bedrock/aws4_request"
    assert signed == "SignedHeaders=content-type;host;x-amz-date"
    assert signature.startswith("Signature=") and len(signature) == 74
    assert SECRET_ACCESS_KEY not in str(headers) and "x-amz-security-token" not in headers
    assert request(TEMPORARY_KEY).headers["x-amz-security-token"] == SESSION_TOKEN


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("vpce-0a1b-2c.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_every_address_of_awss_names_its_region(host: str, region: str) -> None:
    assert f"/{region}/bedrock/" in request(ACCESS_KEY, f"https://{host}").headers["authorization"]


@pytest.mark.parametrize("key", ["a:b", f"{ACCESS_KEY}:", f"{TEMPORARY_KEY}:more", ":secret", "akidexample123456789:s"])
def test_a_key_of_no_known_form_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(CredentialUnusable) as refused:
        request(key)
    assert refused.value.message == (
        "the key of provider vendor cannot be used: it is neither an API key nor "
        "ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]"
    )


def test_an_address_without_a_region_can_be_asked_with_an_api_key_only() -> None:
    assert "authorization" in request("ABSK", "https://proxy.example").headers
    with pytest.raises(CredentialUnusable, match="names no region"):
        request(ACCESS_KEY, "https://proxy.example")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(
        SigningUnavailable, match=r"botocore is not installed: pip install -r requirements-bedrock\.txt"
    ):
        request(ACCESS_KEY)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", ["eu.anthropic.claude-sonnet-4-6", "amazon.nova-lite-v1:0", ARN])
@pytest.mark.parametrize("key", [ACCESS_KEY, TEMPORARY_KEY])
def test_what_arrives_has_the_signature_that_awss_own_code_makes(
    bedrock: Spoken, monkeypatch: pytest.MonkeyPatch, key: str, name: str, is_stream: bool
) -> None:
    monkeypatch.setenv("FAKE_KEY", key)
    hello = Conversation((Message("user", (Text("hello: Grüße"),)),))
    assert ask(bedrock, hello, is_stream=is_stream, upstream_name=name).error is None
    assert bedrock.sent()["path"].count("/") == 4  # nothing before it was signed has changed on the way


@pytest.mark.parametrize("key", [f"{ACCESS_KEY_ID}:another", f"AKIDANOTHER123456789:{SECRET_ACCESS_KEY}", "refused"])
def test_a_wrong_key_is_refused_by_the_vendor(bedrock: Spoken, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("FAKE_KEY", key)
    with pytest.raises(UpstreamRefused) as refused:
        ask_text(bedrock, "hello")
    assert refused.value.status == 403 and b'"message"' in refused.value.body


# AWS's own client.


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    """botocore's client, pointed at the fake."""
    with FakeBedrock() as fake:
        session = botocore.session.Session()
        session.set_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
        options = Config(retries={"max_attempts": 1}, region_name=REGION)
        client = session.create_client("bedrock-runtime", endpoint_url=fake.base_url, config=options)
        yield client
        client.close()


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"modelId": ARN, "messages": [{"role": "user", "content": [{"text": text}]}], **fields}


def streamed(aws: Any, **asked: Any) -> list[dict[str, Any]]:
    """The events of one stream; its connection is closed, whatever has come of it."""
    with closing(aws.converse_stream(**asked)["stream"]) as events:
        return list(events)


def test_the_fake_is_understood_by_awss_own_client(aws: Any) -> None:
    answered = aws.converse(**asked("[think:hm] [in:1] [cached:2] [written1h:4] [out:5]"))
    thought, words = answered["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"]["text"] == "hm"
    assert (words, answered["stopReason"]) == ({"text": WORDS_OF_ANSWER}, "end_turn")
    usage = answered["usage"]
    assert (usage["inputTokens"], usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (1, 2, 4)
    assert usage["cacheDetails"] == [{"ttl": "1h", "inputTokens": 4}]


def test_the_fakes_streams_are_understood_by_awss_own_client(aws: Any) -> None:
    spec = {"name": "weather", "inputSchema": {"json": {"type": "object"}}}
    events = streamed(aws, **asked("weather?", toolConfig={"tools": [{"toolSpec": spec}]}))
    kinds = [next(iter(event)) for event in events]
    assert (kinds[:2], kinds[-2:]) == (["messageStart", "contentBlockStart"], ["messageStop", "metadata"])
    deltas = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event
    ]
    assert "".join(deltas) == '{"city": "Köln"}'
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 5


def test_the_fakes_errors_are_understood_by_awss_own_client(aws: Any) -> None:
    with pytest.raises(EventStreamError, match=r"\(serviceUnavailableException\).*overloaded on demand"):
        streamed(aws, **asked("[fault:error]"))
    with pytest.raises(aws.exceptions.ClientError, match="fault 429 on demand"):
        aws.converse(**asked("[fault:429]"))
