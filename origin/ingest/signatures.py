"""Signed webhooks as Standard Webhooks defines them, for both sides: ``sign`` and ``verify``.

A sender proves that it has a secret, and when it signed. What is signed is ``id.timestamp.body``, with
HMAC-SHA256. Three headers carry it:

=====================  ==================================================================
``webhook-id``         the name of this delivery; the same for every attempt to deliver it
``webhook-timestamp``  seconds since 1970, when this attempt was signed
``webhook-signature``  ``v1,<base64>``, several with spaces between them while keys rotate
=====================  ==================================================================

A ``webhook-id`` here has no dot, so that ``id.timestamp.body`` can be cut in one way only: otherwise
the signature of one message would also be that of another with a longer id and a shorter body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from origin.errors import ConfigError, RequestError
from shared_state.errors import shown

__all__ = [
    "ID_HEADER",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "Claim",
    "IngestKey",
    "find_signer",
    "parse_key",
    "parse_keys",
    "read_headers",
    "secret_of",
    "sign",
    "signed_headers",
    "verify",
    "with_names",
]

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

# The specification's own figure: wide enough for clocks that drift, narrow enough that a stolen
# delivery soon is worthless even where its id has been forgotten.
TOLERANCE_S: Final = 300
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the prefix that marks a secret, not one
# The specification's bounds for a secret.
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
# A rotation has two signatures; the bound keeps a hostile header from buying many comparisons.
SIGNATURES_MAX: Final = 8
DIGEST_BYTES: Final = hashlib.sha256().digest_size

_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
# One spelling for one time: the digest is over the number, and a second spelling of it would be a second
# delivery that the same signature covers.
_TIMESTAMP_PATTERN: Final = re.compile(r"0|[1-9][0-9]{0,11}")
_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
# One event in a thousand seconds: slower than any sender, and a wait that can still be said in Retry-After.
RATE_MIN: Final = 0.001
# The options of a key: what each must look like, and the same in words.
_OPTIONS: Final = {
    "prefix": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "rate": re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?"),
    "new_matches": re.compile(r"[0-9]{1,6}"),
}
_REQUIRED: Final = {
    "prefix": "must be the beginning of match ids: 1 to 64 of A-Z a-z 0-9 _ -",
    "rate": f"must be events per second, a number from {RATE_MIN} to 999999",
    "new_matches": "must be matches per hour, a whole number from 0 to 999999",
}


def parse_key(text: str) -> bytes:
    """The bytes of a secret written as ``whsec_<base64>``; the prefix may be missing.

    Raises:
        ConfigError: it is not base64 of 24 to 64 bytes. The message does not show the secret.
    """
    try:
        key = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("an ingest key must be whsec_ and base64; this one is not base64") from None
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ConfigError(
            f"an ingest key must hold {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, this one has {len(key)}"
        )
    return key


@dataclass(frozen=True, slots=True)
class IngestKey:
    """A secret with a name, and what its holder may do.

    Attributes:
        name: is in each record of the log that came under this key.
        secret: its bytes.
        prefix: the ids of the matches that it may write begin with this; empty: all.
        rate: events per second in the mean; None: no limit.
        new_matches: matches per hour that the log did not know; None: no limit.
        burst: events that it may send at once; less than a second's worth counts as that.
    """

    name: str
    secret: bytes = field(repr=False)
    prefix: str = ""
    rate: float | None = None
    new_matches: int | None = None
    burst: float = 0.0


def parse_keys(text: str) -> tuple[bytes | IngestKey, ...]:
    """The keys of ``TOUCHLINE_INGEST_KEYS`` or of a file of keys, newest first; may be none.

    They have commas or line ends between them, and a line that begins with ``#`` is passed over. A key is
    ``whsec_…`` alone or ``name=whsec_…``, and may be followed by ``;prefix=…``, ``;rate=…`` and
    ``;new_matches=…``.

    Returns:
        The bytes of a secret that stands alone; ``with_names`` names it.

    Raises:
        ConfigError: one of them cannot be used, or two have one name. The message shows no secret.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    parts = [part.strip() for line in lines for part in line.split(",") if part.strip()]
    keys = tuple(_parse_named(number, part) for number, part in enumerate(parts, start=1))
    names = [key.name for key in with_names(keys)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two ingest keys have the name {shown(name)}")
    return keys


def with_names(keys: Sequence[bytes | IngestKey]) -> tuple[IngestKey, ...]:
    """The keys, of which a secret that has no name is called ``key-1``, ``key-2``, … by its place."""
    return tuple(
        key if isinstance(key, IngestKey) else IngestKey(f"key-{number}", key)
        for number, key in enumerate(keys, start=1)
    )


def secret_of(key: bytes | IngestKey) -> bytes:
    """The bytes that sign."""
    return key.secret if isinstance(key, IngestKey) else key


def _parse_named(number: int, text: str) -> bytes | IngestKey:
    """One key of ``parse_keys``; ``number`` is its place, from 1."""
    head, *options = (part.strip() for part in text.split(";"))
    name, equals, secret = head.partition("=")
    # Base64 ends in "=" too, so a name is one only if a secret with its prefix follows.
    if not equals or not secret.strip().startswith(SECRET_PREFIX):
        if not options:
            return parse_key(head)
        name, secret = f"key-{number}", head
    name = name.strip()
    if not _NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"the name of ingest key {number} must be 1 to 32 of A-Z a-z 0-9 _ . -")
    given: dict[str, str] = {}
    for option in options:
        option_name, _, value = (part.strip() for part in option.partition("="))
        if option_name not in _OPTIONS or option_name in given:
            # Not shown: a secret may stand there by mistake.
            raise ConfigError(
                f"ingest key {shown(name)}: after the secret come {', '.join(_OPTIONS)}, each once"
            )
        if not _OPTIONS[option_name].fullmatch(value):
            raise ConfigError(
                f"ingest key {shown(name)}: {option_name} {shown(value)} {_REQUIRED[option_name]}"
            )
        given[option_name] = value
    rate = float(given["rate"]) if "rate" in given else None
    if rate is not None and rate < RATE_MIN:
        raise ConfigError(f"ingest key {shown(name)}: rate {shown(given['rate'])} {_REQUIRED['rate']}")
    return IngestKey(
        name,
        parse_key(secret),
        prefix=given.get("prefix", ""),
        rate=rate,
        new_matches=int(given["new_matches"]) if "new_matches" in given else None,
    )


def sign(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of ``webhook-signature`` for one key.

    Args:
        key: the secret's bytes, as ``parse_key`` gives them.
        webhook_id: 1 to 128 of ``A-Z a-z 0-9 _ -``.
        timestamp_s: UTC seconds.
        body: the bytes as they travel.
    """
    return "v1," + base64.b64encode(_digest(key, webhook_id, timestamp_s, body)).decode("ascii")


def signed_headers(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """All three headers of a delivery."""
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: sign(key, webhook_id, timestamp_s, body),
    }


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of a delivery claim; only ``verify`` proves it.

    Attributes:
        timestamp_s: UTC seconds at which it says it was signed.
    """

    webhook_id: str
    timestamp_s: int
    signatures: Sequence[bytes]


def read_headers(headers: Mapping[str, str], now_s: float) -> Claim:
    """Read the three headers, and refuse what cannot be right whatever the body is.

    Args:
        headers: looked up by their lower-case names.
        now_s: UTC seconds.

    Raises:
        RequestError: 400 ``missing_header``, ``bad_webhook_id``, ``bad_timestamp``,
            ``malformed_signature``; 401 ``stale_timestamp``, ``future_timestamp``.
    """
    webhook_id = _header(headers, ID_HEADER)
    if not _ID_PATTERN.fullmatch(webhook_id):
        raise RequestError(
            400, "bad_webhook_id", f"webhook-id must be 1 to 128 of A-Z a-z 0-9 _ -, got {shown(webhook_id)}"
        )
    timestamp = _header(headers, TIMESTAMP_HEADER)
    if not _TIMESTAMP_PATTERN.fullmatch(timestamp):
        raise RequestError(
            400,
            "bad_timestamp",
            f"webhook-timestamp must be seconds since 1970 in plain digits, got {shown(timestamp)}",
        )
    timestamp_s = int(timestamp)
    signatures = _signatures(_header(headers, SIGNATURE_HEADER))
    _check_age(timestamp_s, now_s)
    return Claim(webhook_id, timestamp_s, signatures)


def verify(headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], now_s: float) -> str:
    """Check a delivery; nothing about it may be used before this returns.

    Args:
        headers: looked up by their lower-case names.
        body: the bytes as they came, before any decoding.
        keys: the secrets that may have signed it; all of them are tried whatever the first says.
        now_s: UTC seconds.

    Returns:
        The webhook-id, to drop a delivery that came before.

    Raises:
        RequestError: as ``read_headers``; 401 ``bad_signature``.
    """
    webhook_id, _ = find_signer(headers, body, keys, now_s)
    return webhook_id


def find_signer(
    headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], now_s: float
) -> tuple[str, int]:
    """Check a delivery as ``verify`` does, and say whose it is.

    Returns:
        The webhook-id, and the place in ``keys`` of the first key that signed it.

    Raises:
        RequestError: as ``verify``.
    """
    claim = read_headers(headers, now_s)
    expected = [_digest(key, claim.webhook_id, claim.timestamp_s, body) for key in keys]
    # No early way out: how long this takes says nothing about which key or which byte was right.
    matches = [sum(hmac.compare_digest(mine, theirs) for theirs in claim.signatures) for mine in expected]
    signers = [number for number, count in enumerate(matches) if count]
    if not signers:
        raise RequestError(401, "bad_signature", "no signature of this delivery is by a known key")
    return claim.webhook_id, signers[0]


def _digest(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> bytes:
    signed = hmac.new(key, f"{webhook_id}.{timestamp_s}.".encode("ascii"), hashlib.sha256)
    signed.update(body)
    return signed.digest()


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise RequestError(400, "missing_header", f"header {name} is missing", header=name)
    return value


def _check_age(timestamp_s: int, now_s: float) -> None:
    age_s = now_s - timestamp_s
    if age_s > TOLERANCE_S:
        raise RequestError(
            401,
            "stale_timestamp",
            f"signed {int(age_s)} s ago, at most {TOLERANCE_S} s are allowed",
            age_s=int(age_s),
        )
    if age_s < -TOLERANCE_S:
        raise RequestError(
            401,
            "future_timestamp",
            f"signed {int(-age_s)} s in the future, at most {TOLERANCE_S} s are allowed",
            age_s=int(age_s),
        )


def _signatures(header: str) -> list[bytes]:
    """The ``v1`` signatures of the header; other versions are for other readers."""
    malformed = RequestError(
        400,
        "malformed_signature",
        "webhook-signature must be v1,<base64 of 32 bytes>, several with spaces between",
    )
    parts = header.split()
    if not 1 <= len(parts) <= SIGNATURES_MAX:
        raise malformed
    signatures = []
    for part in parts:
        version, comma, encoded = part.partition(",")
        if not comma:
            raise malformed
        if version != "v1":
            continue
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise malformed from None
        if len(signature) != DIGEST_BYTES:
            raise malformed
        signatures.append(signature)
    if not signatures:
        raise malformed
    return signatures
