"""Vendors' keys: sealed at rest, shared by weight, each tenant's own, and in no log, error, page or answer."""

from __future__ import annotations

import asyncio
import base64
import copy
import dataclasses
import json
import logging
import pickle
import random
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from routing.asking import execute
from routing.credentials import KeyFacts, Secret, hint_of, is_usable_secret, open_sealed, put_secret, seal
from routing.errors import CredentialMissing, CredentialUnreadable, UpstreamError, UpstreamRefused
from routing.key_choice import choose_key, credential_of, hide_key, keys_to_avoid
from routing.model_facts import ModelFacts
from routing.models import Credential, Model, Provider
from routing.snapshot import CATALOG
from routing.upstreams.base import UpstreamRequest, UpstreamResponse
from routing.upstreams.vendor_errors import BrokenOff
from spendhub.environment import Environment, WrongSetting
from spendhub.settings import BASE_DIR
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Change, Tenant
from tests import factories
from tests.factories import ApiKeyFactory, ModelFactory, ProviderFactory
from tests.routing.facts import chat, model_facts

SECRET = "sk-vendor-0123456789-abcdEFGH"
OLD_KEY, NEW_KEY = (base64.urlsafe_b64encode(bytes([fill]) * 32).decode() for fill in (1, 2))


def give_key(tenant: Tenant | None, provider: Provider, secret: str = SECRET, **values: Any) -> Credential:
    credential = Credential(tenant=tenant, provider=provider, **{"name": "main", **values})
    put_secret(credential, secret)
    credential.save()
    return credential


def key(letter: str, weight: int = 1, tenant_id: int | None = None) -> KeyFacts:
    return KeyFacts(UUID(letter * 32), tenant_id, Secret(f"sk-{letter}"), weight)


def with_keys(*keys: KeyFacts, api_key_env: str = "") -> ModelFacts:
    model = model_facts("m", api_key_env=api_key_env)
    return dataclasses.replace(model, provider=dataclasses.replace(model.provider, credentials=keys))


def seen(tenant: Tenant | None, name: str = "small") -> ModelFacts:
    found = CATALOG.refresh().resolve(None if tenant is None else tenant.pk, name)
    assert found is not None
    return found


# --- sealing -----------------------------------------------------------------------------------------------------
def test_what_is_sealed_opens_to_the_same_and_shows_nothing_of_it() -> None:
    sealed = seal(SECRET)
    assert open_sealed(sealed) == open_sealed(memoryview(sealed)) == SECRET
    assert SECRET.encode() not in sealed
    assert seal(SECRET) != sealed


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_sealed_key_that_was_tampered_with_is_unreadable(position: int) -> None:
    sealed = bytearray(seal(SECRET))
    sealed[position] ^= 1
    with pytest.raises(CredentialUnreadable, match="SPENDHUB_ENCRYPTION_KEYS"):
        open_sealed(bytes(sealed))


@pytest.mark.parametrize("stored", [b"", b"x", b"\xff" * 100])
def test_what_was_never_sealed_is_unreadable(stored: bytes) -> None:
    with pytest.raises(CredentialUnreadable):
        open_sealed(stored)


def test_the_first_key_seals_and_all_of_them_open(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    sealed = seal(SECRET)
    settings.ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    assert open_sealed(sealed) == SECRET
    assert Fernet(NEW_KEY).decrypt(seal(SECRET)) == SECRET.encode()
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    with pytest.raises(CredentialUnreadable):
        open_sealed(sealed)


def test_without_keys_one_made_from_the_secret_key_seals_and_it_goes_on_opening(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = []
    sealed = seal(SECRET)
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    assert open_sealed(sealed) == SECRET
    settings.SECRET_KEY = "another"
    with pytest.raises(CredentialUnreadable):
        open_sealed(sealed)


def test_keys_of_the_environment_are_checked_without_repeating_them(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(BASE_DIR)
    monkeypatch.setenv("IT", f" {NEW_KEY}, {OLD_KEY},")
    assert environment.fernet_keys("IT") == [NEW_KEY, OLD_KEY]
    for wrong in ("short", OLD_KEY[:-3], OLD_KEY.replace("A", "!"), "é" * 44):
        monkeypatch.setenv("IT", f"{NEW_KEY},{wrong}")
        with pytest.raises(WrongSetting, match="key 2 is no Fernet key") as told:
            environment.fernet_keys("IT")
        assert wrong not in str(told.value) and NEW_KEY not in str(told.value)


@pytest.mark.django_db
def test_resealing_moves_every_key_to_the_first_encryption_key(settings: Settings) -> None:
    provider, acme = ProviderFactory(), factories.acme()
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    first, second = give_key(acme, provider), give_key(None, provider, "sk-shared-key-1234")
    settings.ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    said = StringIO()
    call_command("credentials", "reseal", stdout=said)
    assert "Encrypted 2 vendor keys" in said.getvalue()
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    for credential, secret in ((first, SECRET), (second, "sk-shared-key-1234")):
        credential.refresh_from_db()
        assert open_sealed(credential.sealed) == secret


@pytest.mark.django_db
def test_resealing_names_what_it_could_not_read_and_leaves_it_as_it_was(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    lost = give_key(factories.acme(), ProviderFactory(name="openai"))
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    kept = give_key(factories.globex(), lost.provider)
    with pytest.raises(CommandError, match=r"1 cannot be read .*Acme: openai main \(…EFGH\)"):
        call_command("credentials", "reseal", stdout=StringIO())
    before = bytes(lost.sealed)
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert bytes(lost.sealed) == before
    assert open_sealed(kept.sealed) == SECRET


def test_a_new_key_is_printed_alone_and_usable() -> None:
    said = StringIO()
    call_command("credentials", "new-key", stdout=said)
    Fernet(said.getvalue().strip())


# --- a secret that does not show itself --------------------------------------------------------------------------
def test_a_secret_shows_itself_in_no_way_but_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(SECRET)
    model = with_keys(KeyFacts(uuid4(), None, secret, 1))
    logging.getLogger("routing").warning("%s %r", secret, model)
    shown = [
        repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s".__mod__(secret), repr(model), str(model),
        repr(choose_key(model)), json.dumps(secret, default=str), msgspec.json.encode(secret, enc_hook=str).decode(),
        caplog.text, repr(dataclasses.asdict(model)),
    ]  # fmt: skip
    assert [text for text in shown if "0123" in text or "EFGH" in text] == []
    assert copy.deepcopy(secret) is copy.copy(secret) is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == SECRET
    assert secret == Secret(SECRET) and secret != Secret("other") and secret != SECRET
    assert hash(secret) == hash(Secret(SECRET))


@pytest.mark.parametrize(
    ("secret", "hint"), [(SECRET, "EFGH"), ("123456789012", "9012"), ("12345678901", ""), ("EMPTY", "")]
)
def test_the_hint_is_the_end_of_a_key_that_is_long_enough(secret: str, hint: str) -> None:
    assert hint_of(secret) == hint


@pytest.mark.parametrize("secret", ["", "a b", "a\nb", "schlüssel", "x" * 4001, "a\x7f"])
def test_what_cannot_travel_in_a_header_is_no_key(secret: str) -> None:
    assert not is_usable_secret(secret)


# --- choosing ----------------------------------------------------------------------------------------------------
def test_keys_share_the_calls_by_weight() -> None:
    model = with_keys(key("a", 1), key("b", 3))
    dice = random.Random(20261124)
    chosen = Counter(choose_key(model, dice=dice.random).secret.reveal() for _ in range(4_000))
    assert 900 < chosen["sk-a"] < 1_100
    assert chosen["sk-a"] + chosen["sk-b"] == 4_000
    again = random.Random(20261124)
    assert chosen == Counter(choose_key(model, dice=again.random).secret.reveal() for _ in range(4_000))


@pytest.mark.parametrize(("thrown", "expected"), [(0.0, "sk-a"), (0.249, "sk-a"), (0.25, "sk-b"), (0.9999, "sk-b")])
def test_the_weights_divide_the_line_from_0_to_1(thrown: float, expected: str) -> None:
    assert choose_key(with_keys(key("a", 1), key("b", 3)), dice=lambda: thrown).secret.reveal() == expected


def test_an_avoided_key_is_used_only_when_there_is_no_other() -> None:
    first, second = key("a", 1000), key("b", 1)
    model = with_keys(first, second)
    assert {credential_of(model, frozenset({first.id})) for _ in range(50)} == {"sk-b"}
    assert credential_of(model, frozenset({first.id, second.id})) in ("sk-a", "sk-b")
    assert credential_of(with_keys(first), frozenset({first.id})) == "sk-a"


def test_a_key_that_cannot_be_read_falls_out(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = KeyFacts(uuid4(), None, None, 1000)
    assert credential_of(with_keys(unreadable, key("b"))) == "sk-b"
    with pytest.raises(CredentialUnreadable, match="provider vendor") as told:
        credential_of(with_keys(unreadable))
    assert (told.value.code, told.value.details["provider"]) == ("credential_unreadable", "vendor")
    monkeypatch.setenv("VENDOR_KEY", "sk-env")
    assert credential_of(with_keys(unreadable, api_key_env="VENDOR_KEY")) == "sk-env"


def test_without_keys_the_variable_is_used_and_with_neither_the_call_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = with_keys(api_key_env="VENDOR_KEY")
    monkeypatch.setenv("VENDOR_KEY", " sk-env\n")
    assert (choose_key(model).secret.reveal(), choose_key(model).id) == ("sk-env", None)
    assert credential_of(with_keys(key("a"), api_key_env="VENDOR_KEY")) == "sk-a"
    monkeypatch.setenv("VENDOR_KEY", "sk-secret env")
    with pytest.raises(CredentialMissing, match="holds characters that no key has") as told:
        credential_of(model)
    assert "sk-secret" not in str(told.value)
    monkeypatch.delenv("VENDOR_KEY")
    with pytest.raises(CredentialMissing) as told:
        credential_of(model)
    assert told.value.message == (
        "provider vendor has no key under Vendor keys, and the environment variable VENDOR_KEY is empty"
    )


def test_a_model_with_a_variable_of_its_own_is_told_of_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY", raising=False)
    model = dataclasses.replace(with_keys(key("a"), api_key_env="VENDOR_KEY"), own_api_key_env="MODEL_KEY")
    with pytest.raises(CredentialMissing) as told:
        credential_of(model)
    assert told.value.message == (
        "provider vendor has no key for m: the environment variable MODEL_KEY, which alone holds it, is empty"
    )


def test_a_provider_that_names_no_variable_and_has_no_key_is_called_without_one() -> None:
    assert credential_of(with_keys()) == ""


def refusal(status: int, key_id: UUID | None, body: bytes = b"{}") -> UpstreamRefused:
    error = UpstreamRefused("vendor", status, {}, body)
    error.key_id = key_id
    return error


@pytest.mark.parametrize("status", [401, 403, 429])
def test_after_a_refusal_of_the_key_another_one_is_tried_until_there_is_none(status: int) -> None:
    first, second = key("a"), key("b")
    model = with_keys(first, second)
    avoid = keys_to_avoid(model, refusal(status, first.id), frozenset())
    assert avoid == {first.id}
    assert keys_to_avoid(model, refusal(status, second.id), avoid) is None
    assert keys_to_avoid(with_keys(first), refusal(status, first.id), frozenset()) is None


@pytest.mark.parametrize(
    "error",
    [
        refusal(500, UUID("a" * 32)),
        refusal(400, UUID("a" * 32)),
        refusal(403, UUID("a" * 32), b'{"error": {"code": "content_filter"}}'),
        refusal(401, None),
        UpstreamError("broken"),
    ],
)
def test_another_key_does_not_help_where_the_key_was_not_at_fault(error: UpstreamError) -> None:
    assert keys_to_avoid(with_keys(key("a"), key("b")), error, frozenset()) is None


# --- whose key goes where ----------------------------------------------------------------------------------------
def test_an_attempt_is_made_with_the_key_that_was_chosen_for_it_and_a_variables_key_is_checked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, vendor = with_keys(key("a"), key("b")), TalkativeVendor()
    for name in ("a", "b"):
        chosen = next(each for each in iter(lambda: choose_key(model), None) if each.secret.reveal() == f"sk-{name}")
        with pytest.raises(UpstreamRefused):
            asyncio.run(execute(model, chat({}), chosen, transport=vendor))
        assert vendor.sent["authorization"] == f"Bearer sk-{name}"
    monkeypatch.setenv("VENDOR_KEY", "sk-env")
    model = with_keys(api_key_env="VENDOR_KEY")
    assert choose_key(model) is choose_key(model)


@pytest.mark.django_db
def test_a_tenants_own_key_stands_in_place_of_the_installations_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    acme, globex = factories.acme(), factories.globex()
    provider = ProviderFactory(api_key_env="VENDOR_KEY", base_url="https://vendor.example/v1")
    ModelFactory(provider=provider)
    monkeypatch.delenv("VENDOR_KEY", raising=False)
    give_key(acme, provider, "sk-of-acme-123456")
    assert credential_of(seen(acme)) == "sk-of-acme-123456"
    for other in (globex, None):
        with pytest.raises(CredentialMissing, match="VENDOR_KEY"):
            credential_of(seen(other))
    give_key(None, provider, "sk-installation-1")
    assert credential_of(seen(globex)) == credential_of(seen(None)) == "sk-installation-1"
    assert {credential_of(seen(acme)) for _ in range(50)} == {"sk-of-acme-123456"}


@pytest.mark.django_db
def test_a_tenants_unreadable_key_is_not_replaced_by_calls_on_the_installations_bill(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    acme, provider = factories.acme(), ProviderFactory(api_key_env="VENDOR_KEY")
    ModelFactory(provider=provider)
    monkeypatch.setenv("VENDOR_KEY", "sk-installation-1")
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    own = give_key(acme, provider)
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    CATALOG.forget()
    with pytest.raises(CredentialUnreadable, match=provider.name):
        credential_of(seen(acme))
    own.is_enabled = False
    own.save()
    assert credential_of(seen(acme)) == "sk-installation-1"


@pytest.mark.django_db
def test_an_unreadable_key_is_told_of_in_the_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    own = give_key(factories.acme(), ProviderFactory(name="openai"))
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    with caplog.at_level(logging.WARNING, "routing.credentials"):
        CATALOG.refresh()
    assert f"vendor key {own.pk} of provider openai falls out" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.django_db
def test_no_key_of_a_shared_provider_goes_where_a_tenant_has_sent_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    acme, provider = factories.acme(), ProviderFactory(api_key_env="VENDOR_KEY", base_url="https://vendor.example/v1")
    monkeypatch.setenv("VENDOR_KEY", "sk-env-of-installation")
    give_key(None, provider, "sk-installation-1")
    Model.objects.create(tenant=acme, provider=provider, name="here")
    Model.objects.create(tenant=acme, provider=provider, name="elsewhere", base_url="https://evil.example/v1")
    assert credential_of(seen(acme, "here")) == "sk-installation-1"
    assert credential_of(seen(acme, "elsewhere")) == ""
    give_key(acme, provider, "sk-of-acme-123456")
    assert credential_of(seen(acme, "here")) == "sk-of-acme-123456"
    assert credential_of(seen(acme, "elsewhere")) == ""


@pytest.mark.django_db
def test_a_tenants_own_provider_has_its_own_keys_and_never_the_installations() -> None:
    acme, globex = factories.acme(), factories.globex()
    shared = ProviderFactory(name="openai", base_url="https://api.example/v1")
    ModelFactory(provider=shared)
    give_key(None, shared, "sk-installation-1")
    own = ProviderFactory(name="openai", tenant=acme, base_url="https://llm.acme.example/v1")
    # Neither could be entered; rows that a defect has made are not followed.
    give_key(None, own, "sk-installation-2")
    give_key(globex, own, "sk-of-globex-12345")
    assert credential_of(seen(acme)) == ""
    give_key(acme, own, "sk-of-acme-123456")
    assert (seen(acme).base_url, credential_of(seen(acme))) == ("https://llm.acme.example/v1", "sk-of-acme-123456")
    assert credential_of(seen(globex)) == "sk-installation-1"


@pytest.mark.django_db
def test_a_model_with_a_key_variable_of_its_own_gets_that_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    acme, provider = factories.acme(), ProviderFactory()
    ModelFactory(provider=provider, api_key_env="MODEL_KEY", base_url="https://model.example/v1")
    monkeypatch.setenv("MODEL_KEY", "sk-of-the-model")
    give_key(None, provider, "sk-installation-1")
    give_key(acme, provider)
    assert credential_of(seen(acme)) == credential_of(seen(None)) == "sk-of-the-model"


@pytest.mark.django_db
def test_a_switched_off_key_is_not_used_and_a_rotated_one_is_used_at_once() -> None:
    acme, provider = factories.acme(), ProviderFactory()
    ModelFactory(provider=provider)
    first, second = give_key(acme, provider), give_key(acme, provider, "sk-second-1234567", name="second")
    first.is_enabled = False
    first.save()
    assert {credential_of(seen(acme)) for _ in range(50)} == {"sk-second-1234567"}
    put_secret(second, "sk-rotated-1234567")
    second.save()
    assert credential_of(seen(acme)) == "sk-rotated-1234567"


# --- in no error -------------------------------------------------------------------------------------------------
class TalkativeVendor:
    """Answers 401 and repeats the key it was sent, as some do; keeps the headers it was sent."""

    def __init__(self) -> None:
        self.status, self.headers = 401, {"content-type": "application/json"}
        self.sent: dict[str, str] = {}

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent = dict(request.headers)
        return self

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        yield json.dumps({"error": {"message": f"Incorrect API key: {self.sent['authorization'][7:]}"}}).encode()

    async def aread(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        return None


def test_a_vendor_that_repeats_the_key_does_not_hand_it_to_the_client() -> None:
    own, vendor = KeyFacts(uuid4(), None, Secret(SECRET), 1), TalkativeVendor()
    with pytest.raises(UpstreamRefused) as refused:
        asyncio.run(execute(with_keys(own), chat({"messages": []}), transport=vendor))
    assert vendor.sent["authorization"] == f"Bearer {SECRET}"
    assert refused.value.key_id == own.id
    assert refused.value.body == b'{"error": {"message": "Incorrect API key: (hidden key)"}}'
    told = "".join(traceback.format_exception(refused.value)) + repr(vars(refused.value))
    assert SECRET not in told
    assert hide_key(Secret(""), b"words") == b"words"


class EchoingVendor(TalkativeVendor):
    """Says 200, and the key in its answer: whole, or as a stream in two chunks that cut the key in two."""

    def __init__(self, content_type: str) -> None:
        super().__init__()
        self.status, self.headers = 200, {"content-type": content_type}

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        said = b"data: " + await self.aread() + b"\n\n"
        yield said[:40]
        yield said[40:] + b"data: [DONE]\n\n"

    async def aread(self) -> bytes:
        word = b"message" if self.headers["content-type"] == "application/json" else b"delta"
        return b'{"choices":[{"%s":{"content":"%s!"}}]}' % (word, self.sent["authorization"][7:].encode())


async def said_by(vendor: EchoingVendor, secret: str, *, is_stream: bool) -> bytes:
    model = with_keys(KeyFacts(uuid4(), None, Secret(secret), 1))
    begun = await execute(model, chat({"messages": []}, is_stream=is_stream), transport=vendor)
    assert secret not in repr(begun)
    if not is_stream:
        return await begun.read()
    return b"".join([event.encode() async for event, _ in begun.events()])


def test_an_answer_or_an_event_that_repeats_the_key_does_not_hand_it_to_the_client() -> None:
    hidden = b'{"choices":[{"message":{"content":"(hidden key)!"}}]}'
    whole, stream = EchoingVendor("application/json"), EchoingVendor("text/event-stream")
    assert asyncio.run(said_by(whole, SECRET, is_stream=False)) == hidden
    assert asyncio.run(said_by(stream, SECRET, is_stream=True)) == (
        b'data: {"choices":[{"delta":{"content":"(hidden key)!"}}]}\n\ndata: [DONE]\n\n'
    )


class ComplainingVendor(EchoingVendor):
    """Breaks its stream off with an error that repeats the key."""

    async def aread(self) -> bytes:
        return b'{"error":{"message":"bad key %s!"}}' % self.sent["authorization"][7:].encode()


def test_an_error_in_mid_stream_that_repeats_the_key_does_not_hand_it_to_the_client() -> None:
    with pytest.raises(BrokenOff) as raised:
        asyncio.run(said_by(ComplainingVendor("text/event-stream"), SECRET, is_stream=True))
    assert raised.value.event == {"error": {"message": "bad key (hidden key)!"}}
    assert SECRET not in str(raised.value)


def test_a_word_that_stands_in_place_of_a_key_may_be_said() -> None:
    said = b'{"choices":[{"message":{"content":"sk-no-key-required!"}}]}'
    assert asyncio.run(said_by(EchoingVendor("application/json"), "sk-no-key-required", is_stream=False)) == said


def test_the_next_attempt_can_avoid_the_key_that_was_refused() -> None:
    first, second, vendor = key("a", 1000), key("b"), TalkativeVendor()
    with pytest.raises(UpstreamRefused) as refused:
        model = with_keys(first, second)
        asyncio.run(execute(model, chat({}), choose_key(model, frozenset({first.id})), transport=vendor))
    assert (refused.value.key_id, vendor.sent["authorization"]) == (second.id, "Bearer sk-b")


# --- nowhere at all ----------------------------------------------------------------------------------------------
def everything_stored() -> bytes:
    """Every text and byte column of every table."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [bytes(value) if isinstance(value, memoryview) else str(value).encode()
                      for row in cursor.fetchall() for value in row]  # fmt: skip
    return b"\n".join(found)


@pytest.mark.django_db
def test_a_key_is_in_no_answer_page_log_record_or_byte_of_the_database(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    acme = factories.acme()
    ProviderFactory(name="openai")
    rotated = "sk-rotated-9876543210-zyxwVUTS"
    headers = {"authorization": f"Bearer {ApiKeyFactory(tenant=acme).secret}"}
    refresh_all()
    api, browser = Client(headers=headers), Client()
    browser.force_login(factories.UserFactory(username="ada"))
    answers = []

    def ask(client: Client, method: str, address: str, body: Any = None) -> Any:
        given = {"data": json.dumps(body), "content_type": "application/json"} if client is api and body else {}
        answer = getattr(client, method)(address, **(given or ({"data": body} if body else {})))
        answers.append(answer)
        return answer

    made = ask(api, "post", "/api/v1/credentials", {"provider": "openai", "name": "main", "secret": SECRET}).json()
    ask(api, "post", "/api/v1/credentials", {"provider": "openai", "name": "main", "secret": SECRET})
    ask(api, "post", "/api/v1/credentials", {"provider": "nobody", "name": "x", "secret": SECRET})
    ask(api, "post", "/api/v1/credentials", {"provider": "openai", "name": "x", "secret": f"{SECRET} {SECRET}"})
    ask(api, "patch", f"/api/v1/credentials/{made['id']}", {"secret": rotated})
    for address in ("credentials", f"credentials/{made['id']}", "providers", "models", "breakers"):
        ask(api, "get", f"/api/v1/{address}")
    page = f"/admin/routing/credential/{made['id']}/change/"
    ask(browser, "post", page, {"name": "", "weight": "1", "secret": SECRET})
    ask(browser, "post", page, {"name": "main", "weight": "2", "is_enabled": "on", "secret": SECRET})
    provider = Provider.objects.across_tenants().get()
    typed = {"provider": str(provider.pk), "name": "second", "weight": "1", "is_enabled": "on", "secret": rotated}
    ask(browser, "post", "/admin/routing/credential/add/", typed)
    ask(browser, "post", "/admin/routing/credential/add/", typed)
    for address in ("routing/credential/", "tenants/change/", "routing/provider/", "routing/provider/health/", ""):
        ask(browser, "get", f"/admin/{address}")
    ask(browser, "get", page)
    ask(browser, "get", f"/admin/routing/credential/{made['id']}/history/")
    ask(browser, "get", f"/admin/routing/credential/{made['id']}/delete/")
    ask(browser, "post", f"/admin/routing/credential/{made['id']}/delete/", {"post": "yes"})
    ask(browser, "get", "/admin/")
    ask(api, "get", "/api/schema/")
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    assert Credential.objects.for_tenant(acme).get().name == "second"
    written = caplog.text + "".join(capfd.readouterr())
    places = [answer.content for answer in answers] + [everything_stored(), written.encode()]
    places += [str(change.before).encode() + str(change.after).encode() for change in Change.objects.for_tenant(acme)]
    for secret in (SECRET, rotated):
        sealed = base64.b64encode(secret.encode()), secret.encode(), secret[:20].encode()
        assert [place[:200] for place in places if any(form in place for form in sealed)] == []
    assert b"EFGH" in b"".join(answer.content for answer in answers)  # the hint is there: the right answers were read
