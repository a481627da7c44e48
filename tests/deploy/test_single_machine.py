"""systemd's units, checked by systemd; and nginx and Varnish of one machine, as they are shipped."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.ports import free_port
from testkit.container import compiled_seccomp, contained
from testkit.services.caches import VarnishCache
from testkit.services.origin import OriginServer
from testkit.services.process import ServerProcess, listening, require_program
from tests.commands.test_deletion_cost import GOAL

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
OURS = [unit for unit in UNITS if "/opt/touchline/bin/touchline" in unit.read_text(encoding="utf-8")]
SINGLE = ROOT / "deploy" / "single-machine"
pytestmark = pytest.mark.services


def name_of(path: Path) -> str:
    return path.name


# ---- systemd


def test_there_is_a_unit_for_every_tier() -> None:
    assert [unit.stem for unit in OURS] == [
        f"touchline-{tier}" for tier in ("fanout", "feedworker", "origin", "stream")
    ]
    assert len(UNITS) == 6


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    """Only the programs are others: what is installed at /opt/touchline is not here."""
    copies = []
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/touchline/bin/touchline", "/bin/true")
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(text, encoding="utf-8")
    require_program("nginx")
    require_program("varnishd")
    done = subprocess.run(
        [require_program("systemd-analyze"), "verify", "--man=no", *map(str, copies)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", OURS, ids=name_of)
def test_a_unit_of_ours_is_exposed_as_little_as_a_network_service_can_be(unit: Path) -> None:
    done = subprocess.run(
        [require_program("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("unit", OURS, ids=name_of)
def test_a_unit_runs_a_command_with_its_options_and_has_time_to_end(unit: Path) -> None:
    import click

    from origin.cli import main
    from origin.config import SETTINGS

    text = unit.read_text(encoding="utf-8")
    words = re.search(r"^ExecStart=/opt/touchline/bin/touchline (.*)$", text, re.MULTILINE)
    assert words is not None
    name, *options = words[1].split()
    command = main.get_command(click.Context(main), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    for setting in re.findall(r"^Environment=(\w+)=", text, re.MULTILINE):
        assert setting in SETTINGS
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) >= (35 if name == "serve" else 15)


def syscalls_of(*sets: str) -> set[str]:
    """The system calls of sets of systemd, by systemd itself."""
    text = subprocess.run(
        [require_program("systemd-analyze"), "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    lines: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            current = lines.setdefault(line.strip(), [])
        elif line.strip() and not line.strip().startswith("#"):
            current.append(line.strip())
    found: set[str] = set()
    for name in sets:
        for member in lines[name]:
            found |= syscalls_of(member) if member.startswith("@") else {member}
    return found


MDWE = (
    "import ctypes, os, sys\n"
    # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: what MemoryDenyWriteExecute= asks the kernel for.
    "refused = ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0)\n"
    "assert refused == 0, ctypes.get_errno()\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


def test_an_origin_runs_under_the_filters_of_its_unit_and_io_uring_is_there(tmp_path: Path) -> None:
    """Without systemd as the first process the unit cannot be started here; its two riskiest settings can."""
    unit = next(unit for unit in OURS if unit.stem == "touchline-origin").read_text(encoding="utf-8")
    allowed, denied = re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE)
    assert denied.startswith("~")
    assert "MemoryDenyWriteExecute=yes" in unit
    names = syscalls_of(*allowed.split()) - syscalls_of(*denied[1:].split())
    # systemd lets a unit become what it is before its filter holds; bubblewrap's filter holds from the start.
    names |= syscalls_of("@setuid") | {"capset", "execve"}
    place = Path(tempfile.mkdtemp(prefix="touchline-unit-"))
    place.chmod(0o777)
    profile = tmp_path / "profile.json"
    rule = {"names": sorted(names), "action": "SCMP_ACT_ALLOW"}
    profile.write_text(
        json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [rule]})
    )
    program, port = compiled_seccomp(profile), free_port()
    try:
        argv = contained(
            [sys.executable, "-c", MDWE, sys.executable, "-m", "origin", "serve", "--port", str(port)],
            shown=[ROOT, Path(sys.prefix).resolve()],
            writable=place,
            seccomp=9,
        )
        log = tmp_path / "origin.log"
        with ServerProcess(
            ["sh", "-c", f'exec "$@" 9<"/proc/{os.getpid()}/fd/{program}"', "sh", *argv],
            log_path=log,
            env={"EVENTLOG_URL": f"sqlite:///{place}/log.db", "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        ) as origin:

            def ready() -> bool:
                return listening(port) and get(port, "/readyz")[0] == 200

            origin.wait_until(ready, timeout_s=60)
            entries = re.search(
                rb"^touchline_stream_ring_entries (\S+)", get(port, "/metrics")[1], re.MULTILINE
            )
            assert entries is not None
            assert float(entries[1]) > 0
    finally:
        os.close(program)
        shutil.rmtree(place)


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


# ---- nginx and Varnish


@dataclass
class Pair:
    """Attributes:
    port: of nginx, with TLS.
    tls: trusts its certificate.
    origin: what is behind.
    """

    port: int
    tls: ssl.SSLContext
    origin: OriginServer

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.tls)
        try:
            connection.request("GET", path, headers={"Host": "scores.example"})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("origin")
    # Closed to nginx's own account is what pytest makes.
    place = Path(tempfile.mkdtemp(prefix="touchline-pair-"))
    place.chmod(0o755)
    conf, port = place / "conf", free_port()
    shutil.copytree(SINGLE, conf)
    (place / "run").mkdir()
    (conf / "tls").mkdir()
    subprocess.run(
        [
            *(
                require_program("openssl"),
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(conf / "tls" / "key.pem"), "-out", str(conf / "tls" / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    with OriginServer(directory) as origin, VarnishCache(origin.port) as varnish:
        assert origin.post(GOAL) == 200
        origin.wait_for_seq("m1", 1)
        varnish.start()
        edits = {
            "site-listen.conf": {"listen 443": f"listen 127.0.0.1:{port}"},
            "site-process.conf": {"worker_processes auto": "worker_processes 1"},
            "site-upstreams.conf": {
                "127.0.0.1:8000": f"127.0.0.1:{origin.port}",
                "127.0.0.1:6081": f"127.0.0.1:{varnish.port}",
            },
        }
        for name, changes in edits.items():
            text = (conf / name).read_text()
            for before, after in changes.items():
                assert before in text
                text = text.replace(before, after)
            (conf / name).write_text(text)
        argv = [require_program("nginx"), "-p", f"{place}/run/", "-c", f"{conf}/nginx.conf"]
        tested = subprocess.run([*argv, "-t"], capture_output=True, text=True, check=False, timeout=60)
        assert tested.returncode == 0, tested.stderr
        assert "warn" not in tested.stderr
        with ServerProcess(argv, log_path=place / "nginx.log") as nginx:
            nginx.wait_until(lambda: listening(port))
            yield Pair(port, ssl.create_default_context(cafile=str(conf / "tls" / "certificate.pem")), origin)
    shutil.rmtree(place)


def test_pages_come_through_both_and_are_kept(pair: Pair) -> None:
    first, _, body = pair.get("/match/m1")
    again, headers, kept = pair.get("/match/m1")
    assert (first, again) == (200, 200)
    assert b"<live-score" in body
    assert kept == body
    assert int(headers["age"]) >= 0
    assert any("varnish" in headers.get(name, "").lower() for name in ("via", "x-varnish", "x-cache")) or (
        headers.get("x-cache", "").upper().startswith("HIT")
    )


def test_a_stream_comes_unbuffered_past_the_cache(pair: Pair) -> None:
    with (
        socket.create_connection(("127.0.0.1", pair.port), timeout=20) as plain,
        pair.tls.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(b"GET /stream/m1 HTTP/1.1\r\nHost: scores.example\r\nAccept: text/event-stream\r\n\r\n")
        head = sock.recv(65536)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"x-varnish" not in head.lower()
        goal = {**GOAL, "event_id": "g2", "minute": 9}
        assert pair.origin.post(goal) == 200
        seen = head
        while b"g2" not in seen:
            got = sock.recv(65536)
            assert got
            seen += got


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/%6detrics", "//metrics"])
def test_what_is_for_operators_is_closed(pair: Pair, path: str) -> None:
    assert pair.get(path)[0] == 404


def test_webhooks_come_through(pair: Pair) -> None:
    """Unsigned: the origin's own refusal is what comes back."""
    connection = http.client.HTTPSConnection("127.0.0.1", pair.port, timeout=20, context=pair.tls)
    try:
        connection.request("POST", "/ingest/canonical", b"{}", {"Host": "scores.example"})
        response = connection.getresponse()
        assert response.status in (400, 401)
        assert "error" in json.loads(response.read())
    finally:
        connection.close()


def test_varnish_reads_its_configuration_as_the_unit_gives_it(tmp_path: Path) -> None:
    """The unit's own way to take the options of varnishd.args."""
    unit = (ROOT / "deploy" / "systemd" / "touchline-varnish.service").read_text(encoding="utf-8")
    script = re.search(r"sed -n (\"[^\"]*\")", unit)
    assert script is not None
    options = subprocess.run(
        ["sh", "-c", f"sed -n {script[1]} {ROOT}/deploy/varnish/varnishd.args"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert options[:2] == ["-a", "127.0.0.1:6081"]
    options = [one.replace("/etc/touchline/varnish", str(ROOT / "deploy" / "varnish")) for one in options]
    # varnishd compiles as another account, and removes the directory itself.
    place = Path(tempfile.mkdtemp(prefix="touchline-vcl-"))
    place.chmod(0o755)
    try:
        done = subprocess.run(
            [
                *(require_program("varnishd"), "-C", "-n", str(place)),
                *("-f", str(ROOT / "deploy" / "varnish" / "touchline.vcl"), *options[2:]),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_nginx_of_the_composition_reads_its_configuration() -> None:
    """The shipped files with the composition's site files; only the names of services are others."""
    place = Path(tempfile.mkdtemp(prefix="touchline-compose-"))
    try:
        conf = place / "conf"
        shutil.copytree(ROOT / "deploy" / "nginx", conf)
        (place / "run").mkdir()
        for file in (ROOT / "deploy" / "docker" / "nginx-site").iterdir():
            assert (conf / file.name).exists(), f"nothing includes {file.name}"
            text = file.read_text(encoding="utf-8")
            for service in ("origin:8000", "stream:8000"):
                text = text.replace(f"server {service}", "server 127.0.0.1:8000")
            text = text.replace("listen 80 ", f"listen 127.0.0.1:{free_port()} ")
            (conf / file.name).write_text(text)
        done = subprocess.run(
            [require_program("nginx"), "-t", "-p", f"{place}/run/", "-c", f"{conf}/nginx.conf"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(place)
