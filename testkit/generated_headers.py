"""Request headers that no answer may depend on, unless its Vary names them."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["HEADERS", "SENT"]

# If-* are HTTP's own: a validator that matches is answered by 304, so none here does.
HEADERS = {
    "Accept": ["text/html", "application/json", "*/*", "image/png", "text/html;q=0.1,application/json"],
    "Accept-Encoding": [
        "br",
        "gzip",
        "identity",
        "br;q=0, gzip",
        "zstd",
        "*",
        "identity;q=0, x-gzip;q=0.1",
        "gzip, zstd;q=0.9",
    ],
    "Accept-Language": ["fr", "en"],
    "Cookie": ["session=1", "tier=2; a=b"],
    "Host": ["evil.example", "localhost:81"],
    "X-Forwarded-Host": ["evil.example"],
    "X-Forwarded-Proto": ["https", "ftp"],
    "X-Forwarded-For": ["6.6.6.6"],
    "X-Forwarded-Prefix": ["/evil"],
    "Forwarded": ["host=evil.example;proto=https"],
    "X-HTTP-Method-Override": ["POST", "DELETE"],
    "X-Original-URL": ["/evil"],
    "Origin": ["https://evil.example", "null"],
    "Referer": ["https://evil.example/"],
    "User-Agent": ["Mozilla/5.0", "curl/8"],
    "Range": ["bytes=0-3", "bytes=99999999-"],
    "Authorization": ["Bearer x", "Basic eDp5"],
    "Cache-Control": ["no-cache", "only-if-cached"],
    "Save-Data": ["on"],
    "Sec-Fetch-Mode": ["navigate", "cors"],
    "If-None-Match": ['"nothing"'],
    "If-Modified-Since": ["Thu, 01 Jan 1970 00:00:00 GMT"],
}
#: Any of them at once, each with one of its values.
SENT = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in HEADERS.items()})
