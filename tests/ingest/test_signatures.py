"""Both sides of a signed webhook, and every way it can be wrong."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import ConfigError, RequestError
from origin.ingest.signatures import (
    TOLERANCE_S,
    IngestKey,
    find_signer,
    parse_key,
    parse_keys,
    sign,
    signed_headers,
    verify,
    with_names,
)

KEY = b"k" * 24
OTHER = b"o" * 32
NOW_S = 1_531_666_800
BODY = b'{"match_id":"fra-cro"}'


def headers(**changed: str | None) -> dict[str, str]:
    """A right delivery with some headers replaced, or with None taken out."""
    given = signed_headers(KEY, "msg_1", NOW_S, BODY)
    for name, value in changed.items():
        header = "webhook-" + name
        if value is None:
            del given[header]
        else:
            given[header] = value
    return given


def refusal(given: dict[str, str], body: bytes = BODY, now_s: float = NOW_S) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        verify(given, body, [KEY], now_s)
    assert "\n" not in str(caught.value)
    return caught.value.status, caught.value.code


def test_the_specifications_example_verifies() -> None:
    # From the Standard Webhooks specification's reference libraries.
    key = parse_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_right_delivery_gives_its_id() -> None:
    assert verify(headers(), BODY, [KEY], NOW_S) == "msg_1"


@pytest.mark.parametrize("skew_s", [-TOLERANCE_S, 0, TOLERANCE_S])
def test_clocks_may_differ_by_the_tolerance(skew_s: int) -> None:
    assert verify(headers(), BODY, [KEY], NOW_S + skew_s) == "msg_1"


def test_any_of_several_keys_may_have_signed() -> None:
    assert verify(headers(), BODY, [OTHER, KEY], NOW_S) == "msg_1"


def test_any_of_several_signatures_may_be_ours() -> None:
    both = " ".join([sign(OTHER, "msg_1", NOW_S, BODY), "v1a,ed25519", sign(KEY, "msg_1", NOW_S, BODY)])
    assert verify(headers(signature=both), BODY, [KEY], NOW_S) == "msg_1"


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_header_is_400(name: str, value: str | None) -> None:
    assert refusal(headers(**{name: value})) == (400, "missing_header")


@pytest.mark.parametrize("id_", ["a.b", "a b", "é", "a" * 129, "a\n"])
def test_an_id_that_could_be_cut_otherwise_is_400(id_: str) -> None:
    assert refusal(headers(id=id_)) == (400, "bad_webhook_id")


@pytest.mark.parametrize(
    "timestamp",
    [
        *["now", "-1", "1.5", "1" * 13, "١٢٣", " 1", "1_000", f"+{NOW_S}", f"{NOW_S} ", f"{NOW_S}\n", "1e9"],
        *[f"0{NOW_S}", f"00{NOW_S}", "00", f"{NOW_S}".replace("5", "５"), f"{NOW_S:_}", f"{NOW_S:x}"],
    ],
)
def test_a_timestamp_that_is_none_is_400(timestamp: str) -> None:
    assert refusal(headers(timestamp=timestamp)) == (400, "bad_timestamp")


@pytest.mark.parametrize(
    "signature",
    ["v1", "v1,", "v1,?", "v1,AAAA", "v2,AAAA", "garbage", " ".join(["v1," + "A" * 43 + "="] * 9), "v1,é"],
)
def test_a_malformed_signature_is_400(signature: str) -> None:
    assert refusal(headers(signature=signature)) == (400, "malformed_signature")


def test_an_old_delivery_is_401() -> None:
    assert refusal(headers(), now_s=NOW_S + TOLERANCE_S + 1) == (401, "stale_timestamp")


def test_a_delivery_from_the_future_is_401() -> None:
    assert refusal(headers(), now_s=NOW_S - TOLERANCE_S - 1) == (401, "future_timestamp")


def test_another_keys_signature_is_401() -> None:
    assert refusal(headers(signature=sign(OTHER, "msg_1", NOW_S, BODY))) == (401, "bad_signature")


def test_without_keys_nothing_verifies() -> None:
    with pytest.raises(RequestError) as caught:
        verify(headers(), BODY, [], NOW_S)
    assert caught.value.code == "bad_signature"


def test_the_id_the_time_and_the_body_are_all_signed() -> None:
    assert refusal(headers(id="msg_2")) == (401, "bad_signature")
    assert refusal(headers(timestamp=str(NOW_S + 1))) == (401, "bad_signature")
    assert refusal(headers(), body=BODY + b" ") == (401, "bad_signature")


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64), st.integers(0, 2**33))
def test_what_is_signed_verifies(body: bytes, key: bytes, now_s: int) -> None:
    assert verify(signed_headers(key, "id", now_s, body), body, [key], now_s) == "id"


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_any_headers_are_refused_with_a_typed_error(given: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        verify(given, BODY, [KEY], NOW_S)


def test_keys_are_read_with_and_without_their_prefix() -> None:
    encoded = base64.b64encode(KEY).decode()
    assert parse_keys(f"whsec_{encoded}, {encoded},") == (KEY, KEY)
    assert parse_keys("") == ()


@pytest.mark.parametrize("text", ["whsec_", "whsec_???", "whsec_QQ==", "whsec_" + "A" * 400, "whsec_ä"])
def test_a_key_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_key(text)
    assert text not in str(caught.value)


def test_a_key_may_have_a_name_and_limits() -> None:
    encoded = "whsec_" + base64.b64encode(KEY).decode()
    other = "whsec_" + base64.b64encode(OTHER).decode()
    text = f"eng={encoded};prefix=eng-;rate=2.5;new_matches=0, {other} , {other};rate=1"
    assert parse_keys(text) == (
        IngestKey("eng", KEY, prefix="eng-", rate=2.5, new_matches=0),
        OTHER,
        IngestKey("key-3", OTHER, rate=1),
    )
    assert [key.name for key in with_names(parse_keys(text))] == ["eng", "key-2", "key-3"]
    assert "k" * 8 not in repr(parse_keys(text)[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b={secret}", "the name of ingest key 1 must be"),
        ("{secret},ä={secret}", "the name of ingest key 2 must be"),
        ("a={secret};rate=0", "ingest key 'a': rate '0' must be events per second"),
        ("a={secret};rate=1e3", "ingest key 'a': rate '1e3' must be"),
        ("a={secret};rate=-1", "ingest key 'a': rate '-1' must be"),
        ("a={secret};rate=nan", "ingest key 'a': rate 'nan' must be"),
        ("a={secret};new_matches=1.5", "ingest key 'a': new_matches '1.5' must be matches per hour"),
        ("a={secret};new_matches=", "ingest key 'a': new_matches '' must be"),
        ("a={secret};prefix=a/b", "ingest key 'a': prefix 'a/b' must be the beginning of match ids"),
        (
            "a={secret};rate=1;rate=2",
            "ingest key 'a': after the secret come prefix, rate, new_matches, each once",
        ),
        ("a={secret};{secret}", "ingest key 'a': after the secret come"),
        ("a={secret},a={secret}", "two ingest keys have the name 'a'"),
        ("key-2={secret},{secret}", "two ingest keys have the name 'key-2'"),
        ("a=whsec_???", "this one is not base64"),
    ],
)
def test_a_key_that_cannot_be_used_is_described_without_its_secret(text: str, message: str) -> None:
    encoded = base64.b64encode(KEY).decode()
    with pytest.raises(ConfigError) as caught:
        parse_keys(text.replace("{secret}", f"whsec_{encoded}"))
    assert message in str(caught.value)
    assert encoded[:8] not in str(caught.value)


def test_the_signer_is_the_first_key_that_signed() -> None:
    assert find_signer(headers(), BODY, [OTHER, KEY, KEY], NOW_S) == ("msg_1", 1)
