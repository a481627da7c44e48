"""``touchline doctor`` finds nothing wrong with what ships, and names real mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from origin.doctor.examine import examine
from origin.doctor.probe import NotAnswered
from origin.doctor.report import Report
from testkit.faults.bad_proxies import BadProxy, Fault
from testkit.services.caches import NginxCache, start_cache
from testkit.services.certificates import Authority
from testkit.services.misconfigured_caches import MisconfiguredNginx, MisconfiguredVarnish
from testkit.services.origin import OriginServer
from testkit.services.process import free_port

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


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def examined(url: str, *, listen_s: float = LISTEN_S, ca_file: str = "", origin: str = "") -> Report:
    return examine(url, match_id=MATCH, listen_s=listen_s, ca_file=ca_file, origin=origin)


def reports(examinations: Mapping[str, Callable[[], Report]]) -> Mapping[str, Report]:
    """All of them at once: an examination is mostly waiting."""
    with ThreadPoolExecutor(6) as pool:
        running = {name: pool.submit(examination) for name, examination in examinations.items()}
        return {name: one.result() for name, one in running.items()}


# What ships


@pytest.mark.parametrize("kind", ["origin", "nginx", "lua", "varnish"])
def test_nothing_is_wrong_with_what_ships(origin: OriginServer, kind: str) -> None:
    if kind == "origin":
        report = examine(origin.url, listen_s=LISTEN_S)
    else:
        with start_cache(kind, origin.port) as cache:
            report = examine(cache.url, listen_s=LISTEN_S, origin=origin.url)
    assert report.findings == []
    assert report.asked > 30


def test_nothing_is_wrong_with_the_shipped_tls(origin: OriginServer, authority: Authority) -> None:
    cache = NginxCache(origin.port)
    certificate = authority.certificate("shipped")
    cache.certificate.write_text(certificate.chain.read_text())
    cache.certificate.with_name("key.pem").write_text(certificate.key.read_text())
    with cache.start():
        url = f"https://localhost:{cache.tls_port}"
        report = examined(url, ca_file=str(authority.root))
        assert report.findings == []
        assert codes(examined(url)) == {"certificate_chain"}  # of an authority that nobody here knows


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


@pytest.fixture(scope="module")
def of_nginx(nginx: MisconfiguredNginx) -> Mapping[str, Report]:
    # "kept" shows once the examination itself has come back after more than the ten seconds that are allowed.
    listen_s = {"kept": 12.0}
    addresses = {name: nginx.url(name) + ("/scores" if name == "below" else "") for name in NGINX}
    return reports(
        {
            name: partial(examined, url, listen_s=listen_s.get(name, LISTEN_S))
            for name, url in addresses.items()
        }
    )


@pytest.mark.parametrize("name", sorted(NGINX))
def test_a_mistake_in_nginx_is_named(of_nginx: Mapping[str, Report], name: str) -> None:
    report = of_nginx[name]
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


@pytest.fixture(scope="module")
def of_tls(tls: MisconfiguredNginx, authority: Authority) -> Mapping[str, Report]:
    root = str(authority.root)
    return reports({name: partial(examined, tls.url(name, "https"), ca_file=root) for name in tls.ports})


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
def test_a_mistake_in_tls_is_named(of_tls: Mapping[str, Report], name: str, found: str) -> None:
    # What else there is was examined all the same.
    assert codes(of_tls[name]) == {found}
    assert of_tls[name].asked > 30


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


@pytest.fixture(scope="module")
def of_varnish(origin: OriginServer) -> Mapping[str, Report]:
    listen_s = {"stale": 12.0}
    return reports(
        {
            name: partial(examined_varnish, origin, vcl, listen_s.get(name, LISTEN_S))
            for name, vcl in VARNISH.items()
        }
    )


@pytest.mark.parametrize("found", sorted(VARNISH))
def test_a_mistake_in_varnish_is_named(of_varnish: Mapping[str, Report], found: str) -> None:
    assert found in codes(of_varnish[found])


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


@pytest.fixture(scope="module")
def of_proxies(origin: OriginServer) -> Mapping[str, Report]:
    return reports({str(n): partial(examined_proxy, origin, fault) for n, (fault, _) in enumerate(FAULTS)})


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[found for _, found in FAULTS])
def test_a_bad_proxy_is_named(of_proxies: Mapping[str, Report], number: int) -> None:
    report, (fault, found) = of_proxies[str(number)], FAULTS[number]
    assert found in codes(report), report
    if fault == Fault():
        assert codes(report) == {found}


def test_the_origin_s_own_port_is_named_where_it_is_open(tmp_path: Path) -> None:
    with OriginServer(tmp_path, env=QUICK) as server:
        server.post_file(FINAL, last=15)
        assert codes(examined(server.url)) == {"admin_public"}


def test_without_a_match_it_says_what_it_did_not_examine(tmp_path: Path) -> None:
    with OriginServer(tmp_path, env=QUICK, admin=True) as server:
        report = examine(server.url, listen_s=LISTEN_S)
    assert report.findings == []
    assert any("--match" in what for what in report.not_examined)


# What is no set-up at all


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
