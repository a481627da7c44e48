"""Whose limit a viewer counts against, behind any row of proxies."""

from __future__ import annotations

import pytest

from origin.errors import ConfigError
from origin.stream.http.forwarded import TrustedProxies, group_of, viewer_address

INNER = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # a stranger says whatever it likes
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # left of the last stranger is hearsay
        ("10.1.2.3", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["6.6.6.6", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),  # several lines are one list
        ("10.1.2.3", ["198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),  # IPv4 mapped into IPv6
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("10.1.2.3", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8:1:2::7]:443"], "2001:db8:1:2::/64"),
        ("10.1.2.3", ["2001:db8:1:2::7"], "2001:db8:1:2::/64"),
        ("10.1.2.3", ['"[2001:db8:1:2::7]"'], "2001:db8:1:2::/64"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], "198.51.100.1"),  # a Unix socket: our own proxy
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["10.4.4.4, 10.5.5.5"], "10.4.4.4"),
    ],
)
def test_who_a_viewer_is(peer: str, lines: list[str], expected: str) -> None:
    assert viewer_address(peer, lines, INNER) == expected


def test_whoever_trusts_anybody_believes_the_last_proxy() -> None:
    assert viewer_address("203.0.113.7", ["6.6.6.6, 198.51.100.1"], TrustedProxies(["*"])) == "198.51.100.1"


def test_an_entry_that_is_no_network_is_refused_by_itself() -> None:
    with pytest.raises(ConfigError, match=r"FORWARDED_ALLOW_IPS '10\.0\.0\.0/99'"):
        TrustedProxies(["127.0.0.1", "10.0.0.0/99"])


def test_one_subscriber_is_one_group() -> None:
    assert group_of("::ffff:1.2.3.4") == group_of("1.2.3.4")
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff:1")
    assert group_of("2001:db8::1") != group_of("2001:db8:0:1::1")
