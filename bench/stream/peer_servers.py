"""The floor and the peers: how each is configured, started and published to.

Each is set up as its own documentation says for many connections, with one process where it has
workers, logging off, and the smallest answer header it allows.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlencode

from bench.stream.server import (
    BACKLOG,
    BIN_DIR,
    EPOCH,
    MAX_CONNECTIONS,
    PEER_PYTHON,
    STREAM_DIR,
    Server,
    ServerError,
    event_frame,
    event_json,
    first_line_of,
    post,
)
from deploy.ports import free_port

# In the JSON of event_json(); Centrifuge and nchan pass the payload through unchanged.
JSON_MARK = '"i":"'
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PUSHPIN_LIB = Path("/usr/lib/pushpin")


class Floor(Server):
    """A bare epoll loop in C (floor.c): the kernel's own price."""

    name = "floor"
    label = "C epoll loop (the floor)"

    def __init__(self) -> None:
        super().__init__()
        self.publish_port = free_port()

    def version(self) -> str:
        return first_line_of(["gcc", "--version"])

    def command(self) -> list[str]:
        return [str(BIN_DIR / "floor"), str(self.port), str(self.publish_port)]

    def publish(self, number: int, padding: int) -> int:
        frame = event_frame(number, padding)
        with socket.create_connection(("127.0.0.1", self.publish_port), 30) as connection:
            sent_ns = time.monotonic_ns()
            connection.sendall(b"%d\n%s" % (len(frame), frame))
            if not connection.recv(100):
                raise ServerError("the floor closed without an answer")
        return sent_ns


class Nchan(Server):
    """nchan in nginx: one worker process, memory store."""

    name = "nchan"
    label = "nchan (nginx)"
    mark = JSON_MARK
    path = "/sub"

    def missing(self) -> str | None:
        if not NCHAN_MODULE.exists() or shutil.which("nginx") is None:
            return "package libnginx-mod-nchan is not installed"
        return None

    def version(self) -> str:
        nginx = first_line_of(["nginx", "-v"], errors=True).removeprefix("nginx version: ")
        return f"{nginx}, nchan {package_version('libnginx-mod-nchan')}"

    def prepare(self) -> None:
        (self.run_dir / "nginx.conf").write_text(
            f"""
daemon off;
user root;
pid {self.run_dir}/nginx.pid;
error_log {self.run_dir}/error.log warn;
load_module {NCHAN_MODULE};
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections {MAX_CONNECTIONS}; use epoll; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {self.run_dir}/body;
    proxy_temp_path {self.run_dir}/proxy;
    fastcgi_temp_path {self.run_dir}/fastcgi;
    uwsgi_temp_path {self.run_dir}/uwsgi;
    scgi_temp_path {self.run_dir}/scgi;
    nchan_shared_memory_size 512m;
    server {{
        listen 127.0.0.1:{self.port} backlog={BACKLOG};
        location = /sub {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
        location = /pub {{
            nchan_publisher;
            nchan_channel_id bench;
            nchan_message_buffer_length 20;
        }}
    }}
}}
"""
        )

    def command(self) -> list[str]:
        return ["nginx", "-p", str(self.run_dir), "-c", str(self.run_dir / "nginx.conf")]

    def workers(self) -> set[int]:
        return self.supervised()

    def publish(self, number: int, padding: int) -> int:
        return post(self.port, "/pub", event_json(number, padding), {"Content-Type": "text/plain"})


class Pushpin(Server):
    """Pushpin: condure has the connections, pushpin-handler publishes, a backend says what to keep open."""

    name = "pushpin"
    label = "Pushpin"
    path = "/bench"
    # With more at once its proxy loses replies between its own processes and answers 502.
    window = 32

    def __init__(self) -> None:
        super().__init__()
        self.origin_port = free_port()
        # One free base for the ports that Pushpin opens at fixed distances from each other.
        self.control_port = free_port()
        self.spare_ports = [free_port() for _ in range(3)]
        self._others: list[subprocess.Popen[bytes]] = []

    def missing(self) -> str | None:
        needed = [name for name in ("pushpin", "condure", "zurl") if shutil.which(name) is None]
        return f"not installed: {', '.join(needed)}" if needed else None

    def version(self) -> str:
        return f"{package_version('pushpin')}, condure {package_version('condure')}"

    def prepare(self) -> None:
        run = self.run_dir / "run"
        run.mkdir(exist_ok=True)
        sub, pull, command = self.spare_ports
        # The packaged file, with our ports and with the limits that would cut a broadcast short.
        settings = {
            "rundir": run,
            "logdir": run,
            "http_port": f"127.0.0.1:{self.port}",
            "client_maxconn": MAX_CONNECTIONS,
            "push_in_spec": f"tcp://127.0.0.1:{pull}",
            "push_in_sub_specs": f"tcp://127.0.0.1:{sub}",
            "push_in_http_port": self.control_port,
            "command_spec": f"tcp://127.0.0.1:{command}",
            "log_level": 1,
            "message_rate": 1_000_000,
            "message_hwm": 1_000_000,
            # Every viewer has one subscription and one connection record kept alive by a timer.
            "stats_connection_ttl": 600,
        }
        text = Path("/usr/share/pushpin/pushpin.conf.condure").read_text()
        for key, value in settings.items():
            text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
            if not count:
                raise ServerError(f"pushpin.conf has no {key} any more")
        # The packaged wiring, except that zurl's sockets are ours and not the system's.
        wiring = (PUSHPIN_LIB / "internal.conf").read_text().replace("/var/run/zurl/", f"{run}/")
        (self.run_dir / "internal.conf").write_text(wiring)
        text = text.replace("include={libdir}/internal.conf", f"include={self.run_dir}/internal.conf")
        (self.run_dir / "pushpin.conf").write_text(text)
        (self.run_dir / "routes").write_text(f"* 127.0.0.1:{self.origin_port}\n")
        (self.run_dir / "zurl.conf").write_text(
            f"[General]\nin_spec=ipc://{run}/zurl-in\nin_stream_spec=ipc://{run}/zurl-in-stream\n"
            f"out_spec=ipc://{run}/zurl-out\nin_req_spec=ipc://{run}/zurl-req\n"
            "defpolicy=allow\nallow=\ndeny=\nmax_open_requests=5000\nin_hwm=20000\nout_hwm=20000\n"
        )
        # Beside the measured tree: neither is Pushpin itself while events go out.
        self._others = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            for command, log in (
                (
                    [sys.executable, str(STREAM_DIR / "peers/pushpin_origin.py"), str(self.origin_port)],
                    (self.run_dir / "origin.log").open("ab"),
                ),
                (
                    ["zurl", "--loglevel=1", f"--config={self.run_dir}/zurl.conf"],
                    (self.run_dir / "zurl.log").open("ab"),
                ),
            )
        ]

    def command(self) -> list[str]:
        return ["pushpin", f"--config={self.run_dir}/pushpin.conf", "--merge-output"]

    def launch(self) -> None:
        super().launch()
        self.wait_until_listening(self.control_port)
        # condure listens before the handler has connected its sockets to it.
        time.sleep(1)

    def pids(self) -> set[int]:
        found = super().pids()
        # zurl fetches the instruction for each new viewer: a part of what an accept costs.
        return found | {process.pid for process in self._others[1:]} if found else found

    def workers(self) -> set[int]:
        # The runner ends everything when one of its services dies, so all go at once.
        return super().pids()

    def stop(self) -> None:
        super().stop()
        for process in self._others:
            process.terminate()
            process.wait(timeout=10)
        self._others = []

    def publish(self, number: int, padding: int) -> int:
        content = event_frame(number, padding).decode()
        item = {"items": [{"channel": "bench", "formats": {"http-stream": {"content": content}}}]}
        headers = {"Content-Type": "application/json"}
        return post(self.control_port, "/publish/", json.dumps(item).encode(), headers)


class GoLibrary(Server):
    """A peer that is a Go library, in the smallest server that it takes (peers/<name>, a program of ours)."""

    module = ""

    @property
    def _program(self) -> Path:
        return BIN_DIR / f"{self.name}-peer"

    def missing(self) -> str | None:
        return None if self._program.exists() else "was not built (go)"

    def version(self) -> str:
        text = (STREAM_DIR / "peers" / self.name / "go.mod").read_text()
        found = re.search(rf"{self.module} (\S+)", text)
        return f"{found[1] if found else 'unknown'}, {first_line_of(['go', 'version'])}"

    def command(self) -> list[str]:
        return [str(self._program), f"127.0.0.1:{self.port}"]


class Centrifuge(GoLibrary):
    """The engine of Centrifugo as a library."""

    name = "centrifuge"
    label = "Centrifuge (Go library)"
    module = "centrifugal/centrifuge"
    mark = JSON_MARK
    path = "/sse?cf_connect=" + quote('{"id":1,"connect":{}}')

    def publish(self, number: int, padding: int) -> int:
        return post(self.port, "/publish", event_json(number, padding))


class FlaskGevent(Server):
    """Flask under gunicorn's gevent worker, a queue per client."""

    name = "gevent"
    label = "Flask on gevent"
    path = "/stream"

    def missing(self) -> str | None:
        return None if (PEER_PYTHON / "gunicorn").exists() else "its environment was not made"

    def version(self) -> str:
        return python_versions("flask", "gevent", "gunicorn")

    def command(self) -> list[str]:
        return [
            str(PEER_PYTHON / "gunicorn"),
            "--worker-class=gevent",
            "--workers=1",
            f"--worker-connections={MAX_CONNECTIONS}",
            f"--backlog={BACKLOG}",
            f"--bind=127.0.0.1:{self.port}",
            f"--chdir={STREAM_DIR / 'peers'}",
            # A worker busy with 18,000 queues must not be taken for a hung one.
            "--timeout=120",
            "--graceful-timeout=1",
            "flask_gevent:app",
        ]

    def workers(self) -> set[int]:
        return self.supervised()

    def publish(self, number: int, padding: int) -> int:
        return post(self.port, "/publish", event_frame(number, padding))


class Starlette(Server):
    """Starlette under uvicorn with uvloop and httptools, a queue per client."""

    name = "starlette"
    label = "Starlette on uvicorn"
    path = "/stream"

    def missing(self) -> str | None:
        return None if (PEER_PYTHON / "uvicorn").exists() else "its environment was not made"

    def version(self) -> str:
        return python_versions("starlette", "uvicorn", "uvloop")

    def command(self) -> list[str]:
        return [
            str(PEER_PYTHON / "uvicorn"),
            "--loop=uvloop",
            "--http=httptools",
            "--no-access-log",
            f"--backlog={BACKLOG}",
            "--host=127.0.0.1",
            f"--port={self.port}",
            f"--app-dir={STREAM_DIR / 'peers'}",
            "--timeout-graceful-shutdown=1",
            "starlette_uvicorn:app",
        ]

    def publish(self, number: int, padding: int) -> int:
        return post(self.port, "/publish", event_frame(number, padding))


class Mercure(GoLibrary):
    """The hub of Mercure as a library."""

    name = "mercure"
    label = "Mercure (Go library)"
    module = "dunglas/mercure"
    path = "/.well-known/mercure?topic=bench"

    def publish(self, number: int, padding: int) -> int:
        form = {
            "topic": "bench",
            "id": f"{EPOCH}-{number}",
            "type": "score",
            "data": '{"s":[1,0],"p":"%s"}' % ("x" * max(0, padding)),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return post(self.port, "/publish", urlencode(form).encode(), headers)


CENTRIFUGO_VERSION = "v6.9.1"


class Centrifugo(Server):
    """Its unidirectional SSE, for anonymous viewers of one channel, publications by its HTTP API."""

    name = "centrifugo"
    label = "Centrifugo"
    mark = JSON_MARK
    path = "/connection/uni_sse?cf_connect=" + quote('{"subs":{"bench":{}}}')

    def missing(self) -> str | None:
        return None if (BIN_DIR / "centrifugo").exists() else "was not built (go)"

    def version(self) -> str:
        # Built as a module it calls itself v0.0.0.
        return f"{CENTRIFUGO_VERSION}, {first_line_of(['go', 'version'])}"

    def prepare(self) -> None:
        settings = {
            "http_server": {"address": "127.0.0.1", "port": self.port},
            "log": {"level": "none"},
            # No ping within a run: its cost would be counted as the cost of deliveries.
            "client": {"insecure": True, "ping_interval": "24h"},
            "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
            "uni_sse": {"enabled": True},
            # On loopback, for a minute.
            "http_api": {"insecure": True},
            "usage_stats": {"disabled": True},
        }
        (self.run_dir / "config.json").write_text(json.dumps(settings))

    def command(self) -> list[str]:
        return [str(BIN_DIR / "centrifugo"), "--config", str(self.run_dir / "config.json")]

    def publish(self, number: int, padding: int) -> int:
        body = b'{"channel":"bench","data":%s}' % event_json(number, padding)
        return post(self.port, "/api/publish", body, {"Content-Type": "application/json"})


def package_version(package: str) -> str:
    return first_line_of(["dpkg-query", "-W", "-f=${Version}", package])


def python_versions(*names: str) -> str:
    code = f"from importlib.metadata import version as v; print(', '.join(n + ' ' + v(n) for n in {names!r}))"
    return first_line_of([str(PEER_PYTHON / "python"), "-c", code])


PEERS: tuple[type[Server], ...] = (
    Nchan,
    Pushpin,
    Mercure,
    Centrifugo,
    Centrifuge,
    FlaskGevent,
    Starlette,
)
