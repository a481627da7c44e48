"""``touchline doctor`` finds nothing wrong with what ships, and names real mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from deploy.ports import free_port
from origin.doctor.examine import examine
from origin.doctor.probe import NotAnswered
from origin.doctor.report import Report
from testkit.faults.bad_proxies import BadProxy, Fault
from testkit.services.caches import NginxCache, start_cache
from testkit.services.certificates import Authority
from testkit.services.misconfigured_caches import MisconfiguredNginx, MisconfiguredVarnish
from testkit.services.origin import OriginServer

pytestmark = pytest.mark.services

FINAL = Path(__file__).parents[2] / "origin" / "demo" / "final-2018.jsonl"
MATCH = "2018-07-15-france-croatia"
LISTEN_S = 2.0
#: Heartbeats and slices of time that let an examination be short.
QUICK = {"TOUCHLINE_STREAM_HEARTBEAT_S": "0.5", "TOUCHLINE_STREAM_LONG_POLL_SLICE_S": "1"}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin"), env=QUICK, admin=True) as server:
        server.post_file(FINAL, last=15)
        server.wait_for_seq(MATCH, 15)
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


Examinations = Mapping[str, Future[Report]]


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def examined(url: str, *, listen_s: float = LISTEN_S, ca_file: str = "", origin: str = "") -> Report:
    return examine(url, match_id=MATCH, listen_s=listen_s, ca_file=ca_file, origin=origin)


# What ships


SHIPPED = ("origin", "nginx", "lua", "varnish")


def examined_shipped(origin: OriginServer, kind: str) -> Report:
    if kind == "origin":
        return examine(origin.url, listen_s=LISTEN_S)
    with start_cache(kind, origin.port) as cache:
        return examine(cache.url, listen_s=LISTEN_S, origin=origin.url)


@pytest.mark.parametrize("kind", SHIPPED)
def test_nothing_is_wrong_with_what_ships(examinations: Examinations, kind: str) -> None:
    report = examinations[f"shipped {kind}"].result()
    assert report.findings == []
    assert report.asked > 30


def examined_shipped_tls(origin: OriginServer, authority: Authority, ca_file: str) -> Report:
    cache = NginxCache(origin.port)
    certificate = authority.certificate(f"shipped-{bool(ca_file)}")
    cache.certificate.write_text(certificate.chain.read_text())
    cache.certificate.with_name("key.pem").write_text(certificate.key.read_text())
    with cache.start():
        return examined(f"https://localhost:{cache.tls_port}", ca_file=ca_file)


def test_nothing_is_wrong_with_the_shipped_tls(examinations: Examinations) -> None:
    assert examinations["tls trusted"].result().findings == []
    # Of an authority that nobody here knows.
    assert codes(examinations["tls untrusted"].result()) == {"certificate_chain"}


# nginx, misconfigured

NGINX = {
    "buffered": "location / { {pass_on} } location /stream { proxy_pass http://127.0.0.1:{origin};"
    " proxy_http_version 1.1; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; }",
    "zipped": "location / { {pass_on} gzip on; gzip_proxied any; gzip_min_length 1;"
    " gzip_types text/event-stream; }",
    "http10": "location / { proxy_pass http://127.0.0.1:{origin}; proxy_buffering off; }",
    "no_cors": "location / { {pass_on} proxy_hide_header Access-Control-Allow-Origin; }",
    "doubled_cors": "location / { {pass_on} add_header Access-Control-Allow-Origin * always; }",
    "stripped": "location / { {pass_on} proxy_hide_header ETag; proxy_hide_header Touchline-Id; }",
    "expires": "location / { {pass_on} expires 10m; }",
    "uncompressed": "location / { {pass_on} proxy_set_header Accept-Encoding ''; }",
    "kept": "location /stream { {pass_on} } location / { {pass_on} {cache}; proxy_buffering on;"
    " proxy_ignore_headers Cache-Control Vary; proxy_cache_valid any 10m;"
    " proxy_cache_key $uri$is_args$args$http_accept_encoding; }",
    "queryless": "location /stream { {pass_on} } location / { {pass_on} {cache}; proxy_buffering on;"
    " proxy_ignore_headers Vary; proxy_cache_key $uri$http_accept_encoding; }",
    "one_coding": "location /stream { {pass_on} } location / { {pass_on} {cache}; proxy_buffering on;"
    " proxy_ignore_headers Vary Cache-Control; proxy_cache_valid 200 1m; proxy_cache_key $request_uri; }",
    "own_errors": "location / { {pass_on} proxy_intercept_errors on; error_page 404 /oops.html; }"
    " location = /oops.html { internal; return 404 '<h1>oops</h1>'; }",
    "index_for_all": "location / { {pass_on} proxy_intercept_errors on; error_page 404 =200 /oops.html; }"
    " location = /oops.html { internal; default_type text/html; return 200 '<h1>app</h1>'; }",
    "own_policy": "location / { {pass_on} add_header Content-Security-Policy \"default-src 'none'\" always;"
    " }",
    "frame_options": "location / { {pass_on} proxy_hide_header Content-Security-Policy;"
    " add_header X-Frame-Options DENY always; }",
    "cookie": "location / { {pass_on} add_header Set-Cookie 'route=1' always; }",
    "no_files": "location / { {pass_on} } location /widget/ { return 404; }",
    "typeless": "location / { {pass_on} } location /widget/ { {pass_on} proxy_hide_header Content-Type;"
    " default_type text/plain; add_header Content-Type text/plain; }",
    "slash": "location / { {pass_on} }"
    " location ~ ^/match/[^/]+$ { rewrite ^(.*)$ http://127.0.0.1:{port}$1/ permanent; }"
    " location ~ ^(/match/[^/]+)/$ { rewrite ^(.*)/$ $1 break; {pass_on} }",
    "moved_polls": "location / { {pass_on} } location /api/ { return 301"
    " http://127.0.0.1:{port}/v2$request_uri; }"
    " location /stream { return 302 http://127.0.0.1:{port}/v2$request_uri; }",
    "impatient": "location / { {pass_on} } location ~ /deltas/ { {pass_on} proxy_read_timeout 100ms; }",
    "below": "location / { return 404; } location /scores/ { proxy_pass http://127.0.0.1:{origin}/;"
    " proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; }",
}
#: What each mistake is called. Others may come with it, since one mistake has several effects.
FOUND = {
    "buffered": "stream_buffered",
    "zipped": "stream_compressed",
    "http10": "websocket",
    "no_cors": "cors",
    "doubled_cors": "cors_doubled",
    "stripped": "headers_stripped",
    "expires": "kept_by_browsers",
    "uncompressed": "not_compressed",
    "kept": "stale",
    "queryless": "query_ignored",
    "one_coding": "compressed_unasked",
    "own_errors": "errors_replaced",
    "index_for_all": "error_status",
    "own_policy": "policy_forbids_loader",
    "frame_options": "embed_not_framed",
    "cookie": "cookie_added",
    "no_files": "file_missing",
    "typeless": "media_type",
    "slash": "redirected",
    "moved_polls": "redirected",
    "impatient": "long_poll_cut",
    "below": "path_prefix",
}
#: Those after which nothing else is wrong.
ALONE = {"buffered", "uncompressed", "cookie", "impatient", "http10", "slash", "queryless", "own_policy"}


@pytest.fixture(scope="module")
def nginx(origin: OriginServer) -> Iterator[MisconfiguredNginx]:
    server = MisconfiguredNginx(origin.port, NGINX)
    yield server
    server.close()


@pytest.mark.parametrize("name", sorted(NGINX))
def test_a_mistake_in_nginx_is_named(examinations: Examinations, name: str) -> None:
    report = examinations[f"nginx {name}"].result()
    assert FOUND[name] in codes(report), report
    if name in ALONE:
        assert codes(report) == {FOUND[name]}
    assert all(finding.change and finding.seen for finding in report.findings)


# TLS, misconfigured


@pytest.fixture(scope="module")
def tls(origin: OriginServer, authority: Authority) -> Iterator[MisconfiguredNginx]:
    own = authority.self_signed("own")
    certificates = {
        "expired": authority.certificate("expired", days=-1),
        "other_name": authority.certificate("other_name", host="other.example"),
        "half": authority.certificate("half", whole=False),
        "self_signed": own,
        "soon": authority.certificate("soon", days=3),
        "old": authority.certificate("old"),
        "http1": authority.certificate("http1"),
    }
    more = {"old": "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0;"}
    servers = {
        name: f"ssl_certificate {one.chain}; ssl_certificate_key {one.key}; {more.get(name, '')}"
        " location / { {pass_on} }"
        for name, one in certificates.items()
    }
    listen = {name: "ssl" if name == "http1" else "ssl http2" for name in servers}
    server = MisconfiguredNginx(origin.port, servers, listen)
    yield server
    server.close()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("expired", "certificate_expired"),
        ("other_name", "certificate_name"),
        ("half", "certificate_chain"),
        ("self_signed", "certificate_chain"),
        ("soon", "certificate_ends_soon"),
        ("old", "tls_old_version"),
        ("http1", "no_http2"),
    ],
)
def test_a_mistake_in_tls_is_named(examinations: Examinations, name: str, found: str) -> None:
    report = examinations[f"tls {name}"].result()
    # What else there is was examined all the same.
    assert codes(report) == {found}
    assert report.asked > 30


# Varnish, misconfigured


VARNISH = {
    # One viewer's stream, given to all who come within ten seconds.
    "stream_cached": (
        'sub vcl_recv { if (req.url ~ "^/stream/") { return (hash); } }'
        ' sub vcl_backend_response { if (bereq.url ~ "^/stream/") { set beresp.ttl = 10s;'
        " set beresp.uncacheable = false; return (deliver); } }"
    ),
    "stale": 'sub vcl_backend_response { if (bereq.url !~ "^/stream/") { set beresp.ttl = 600s; } }',
    "headers_stripped": "sub vcl_deliver { unset resp.http.ETag; unset resp.http.Touchline-As-Of; }",
}


def examined_varnish(origin: OriginServer, vcl: str, listen_s: float) -> Report:
    with MisconfiguredVarnish(origin.port, vcl) as varnish:
        return examined(varnish.url, listen_s=listen_s)


@pytest.mark.parametrize("found", sorted(VARNISH))
def test_a_mistake_in_varnish_is_named(examinations: Examinations, found: str) -> None:
    assert found in codes(examinations[f"varnish {found}"].result())


# Proxies of other kinds


def inject(path: str, body: bytes) -> bytes:
    if path.endswith(".js"):
        return b"/* minified */" + body
    return body


def without_loader(path: str, body: bytes) -> bytes:
    return body.replace(b'<script type="module"', b'<script type="text/rocketscript"')


FAULTS = [
    (Fault(date_offset_s=-90), "clock"),
    (Fault(block_bytes=4096), "stream_buffered"),
    (Fault(batch_s=30), "stream_buffered"),
    (Fault(cut_after_s=1), "stream_cut"),
    (Fault(rewrite=inject), "file_changed"),
    (Fault(rewrite=without_loader), "no_loader"),
    (Fault(drop=["cache-control"]), "stream_headers"),
    (Fault(replace={"content-type": "application/octet-stream"}), "stream_media_type"),
    (Fault(length=10), "cut"),
    (Fault(drop=["access-control-expose-headers"]), "cors_headers"),
    (Fault(drop=["access-control-allow-headers"]), "cors_preflight"),
    (Fault(drop=["service-worker-allowed"]), "service_worker_scope"),
    (Fault(status=lambda path, status: 200 if status == 304 else status), "no_304"),
    (Fault(prefix="/scores"), "path_prefix"),
    (Fault(drop=["referrer-policy"]), "headers_lost"),
    # It does not pass WebSockets on.
    (Fault(), "websocket"),
]


def examined_proxy(origin: OriginServer, fault: Fault) -> Report:
    with BadProxy(origin.port, fault) as proxy:
        return examined(
            proxy.url + fault.prefix, origin=origin.url if "referrer-policy" in fault.drop else ""
        )


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[found for _, found in FAULTS])
def test_a_bad_proxy_is_named(examinations: Examinations, number: int) -> None:
    report, (fault, found) = examinations[f"proxy {number}"].result(), FAULTS[number]
    assert found in codes(report), report
    if fault == Fault():
        assert codes(report) == {found}


def examined_origin(directory: Path, *, admin: bool, with_match: bool) -> Report:
    directory.mkdir()
    with OriginServer(directory, env=QUICK, admin=admin) as server:
        if with_match:
            server.post_file(FINAL, last=15)
            server.wait_for_seq(MATCH, 15)
        return examine(server.url, listen_s=LISTEN_S)


def test_the_origin_s_own_port_is_named_where_it_is_open(examinations: Examinations) -> None:
    assert codes(examinations["no admin port"].result()) == {"admin_public"}


def test_without_a_match_it_says_what_it_did_not_examine(examinations: Examinations) -> None:
    report = examinations["no match"].result()
    assert report.findings == []
    assert any("--match" in what for what in report.not_examined)


# All of them at once: an examination is mostly waiting.


@pytest.fixture(scope="module")
def examinations(
    origin: OriginServer,
    authority: Authority,
    nginx: MisconfiguredNginx,
    tls: MisconfiguredNginx,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Examinations]:
    # A cache that keeps too long shows once an examination has lasted longer than the ten seconds allowed.
    root, long_s, directory = str(authority.root), 12.0, tmp_path_factory.mktemp("origins")
    todo: dict[str, Callable[[], Report]] = {
        "nginx kept": partial(examined, nginx.url("kept"), listen_s=long_s),
        "varnish stale": partial(examined_varnish, origin, VARNISH["stale"], long_s),
        "no admin port": partial(examined_origin, directory / "open", admin=False, with_match=True),
        "no match": partial(examined_origin, directory / "empty", admin=True, with_match=False),
        "tls trusted": partial(examined_shipped_tls, origin, authority, root),
        "tls untrusted": partial(examined_shipped_tls, origin, authority, ""),
    }
    for kind in SHIPPED:
        todo[f"shipped {kind}"] = partial(examined_shipped, origin, kind)
    for name in NGINX:
        url = nginx.url(name) + ("/scores" if name == "below" else "")
        todo.setdefault(f"nginx {name}", partial(examined, url))
    for name in tls.ports:
        todo[f"tls {name}"] = partial(examined, tls.url(name, "https"), ca_file=root)
    for name, vcl in VARNISH.items():
        todo.setdefault(f"varnish {name}", partial(examined_varnish, origin, vcl, LISTEN_S))
    for number, (fault, _) in enumerate(FAULTS):
        todo[f"proxy {number}"] = partial(examined_proxy, origin, fault)
    with ThreadPoolExecutor(12) as pool:
        yield {name: pool.submit(examination) for name, examination in todo.items()}
        pool.shutdown(cancel_futures=True)


# What is no set-up at all


def test_a_match_that_is_none_or_that_nobody_knows(origin: OriginServer) -> None:
    with pytest.raises(NotAnswered, match="has no match 'nope'"):
        examine(origin.url, match_id="nope")
    with pytest.raises(NotAnswered, match="has no match 'nope'"):
        examine(f"{origin.url}/match/nope")
    for wrong in ("a b", "../x", "x" * 65, "é"):
        with pytest.raises(ValueError, match="an id is 1 to 64"):
            examine(origin.url, match_id=wrong)


def test_a_file_of_certificates_that_is_not_there(origin: OriginServer) -> None:
    with pytest.raises(NotAnswered, match="'/missing'"):
        examine(origin.url, ca_file="/missing")


def test_what_cannot_be_asked() -> None:
    with pytest.raises(NotAnswered, match="refused"):
        examine(f"http://127.0.0.1:{free_port()}")
    for wrong in (
        "ftp://x.example",
        "http://",
        "x.example",
        "http://a:b@x.example",
        "http://x.example/a b",
        "http://x.example\r\n",
    ):
        with pytest.raises(ValueError, match=r"address|must be"):
            examine(wrong)
