"""The shipped caches, as the tests start them: the files of ``deploy/``, with other ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from testkit.services.process import ServerProcess, free_port, listening, require_program, unavailable

__all__ = ["PURGE_TOKEN", "Cache", "NginxCache", "VarnishCache", "start_cache"]

DEPLOY = Path(__file__).parents[2] / "deploy"
PURGE_TOKEN = "a-purge-token-of-the-tests-of-thirty-two"
_LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


class Cache:
    """One cache in front of an origin on a loopback port; ``start`` after ``kill`` keeps what is on disk.

    Attributes:
        port: where it takes HTTP.
    """

    def __init__(self, origin_port: int) -> None:
        # Not below pytest's own directory, which is closed to the account that nginx runs as.
        self.directory = Path(tempfile.mkdtemp(prefix="touchline-cache-"))
        self.directory.chmod(0o755)
        self.port = free_port()
        self.process: ServerProcess | None = None
        self._prepare(origin_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _prepare(self, origin_port: int) -> None:
        raise NotImplementedError

    def _argv(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Cache:
        self.process = ServerProcess(self._argv(), log_path=self.directory / "cache.log")
        self.process.wait_until(lambda: listening(self.port))
        return self

    def kill(self) -> None:
        """``kill -9``, with its workers."""
        if self.process is not None:
            self.process.kill()
        # Varnish's child ends once it finds that its parent is gone, and listens until then.
        deadline_s = time.monotonic() + 10
        while listening(self.port) and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def log(self) -> str:
        return (self.directory / "cache.log").read_text(errors="replace")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process is not None:
            self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class NginxCache(Cache):
    """nginx by ``deploy/nginx``; also on ``tls_port``, with TLS and HTTP/2."""

    configuration = "nginx.conf"

    def _prepare(self, origin_port: int) -> None:
        self._program = require_program("nginx")
        self.tls_port = free_port()
        self.certificate = self.directory / "conf" / "tls" / "certificate.pem"
        conf = self.directory / "conf"
        shutil.copytree(DEPLOY / "nginx", conf)
        (self.directory / "run").mkdir(mode=0o755)
        self.certificate.parent.mkdir()
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
            f"-keyout {conf}/tls/key.pem -out {self.certificate}".split(),
            check=True,
            capture_output=True,
        )
        _edit(conf / "site-origin.conf", "127.0.0.1:8000", f"127.0.0.1:{origin_port}")
        _edit(conf / "site-listen.conf", "listen 80 ", f"listen 127.0.0.1:{self.port} ")
        _edit(conf / "site-listen.conf", "listen 443 ", f"listen 127.0.0.1:{self.tls_port} ")
        _edit(conf / "site-lua.conf", "/etc/touchline/nginx/", f"{conf}/")
        (conf / "site-purge.conf").write_text(f'"Bearer {PURGE_TOKEN}" 1;\n')
        # The worker count of the tests' machine would make the counts of origin requests its own.
        _edit(conf / self.configuration, "worker_processes auto", "worker_processes 1")

    def _argv(self) -> list[str]:
        return [
            self._program,
            "-p",
            f"{self.directory}/run/",
            "-c",
            f"{self.directory}/conf/{self.configuration}",
        ]


class LuaCache(NginxCache):
    """The variant whose waiters are woken at once."""

    configuration = "nginx-lua.conf"

    def _prepare(self, origin_port: int) -> None:
        if not _LUA_MODULE.exists():
            unavailable("nginx's Lua module (libnginx-mod-http-lua)")
        super()._prepare(origin_port)


class VarnishCache(Cache):
    """Varnish by ``deploy/varnish``."""

    def _prepare(self, origin_port: int) -> None:
        self._program = require_program("varnishd")
        conf = self.directory / "conf"
        shutil.copytree(DEPLOY / "varnish", conf)
        _edit(conf / "site-backend.vcl", '"8000"', f'"{origin_port}"')
        _edit(conf / "site-backend.vcl", 'Authorization = ""', f'Authorization = "Bearer {PURGE_TOKEN}"')

    def _argv(self) -> list[str]:
        conf = self.directory / "conf"
        arguments: list[str] = []
        for line in (conf / "varnishd.args").read_text().splitlines():
            if line.startswith("-"):
                arguments += line.split(" ", 1)
        arguments[arguments.index(":6081")] = f"127.0.0.1:{self.port}"
        arguments[arguments.index("vcl_path=/etc/touchline/varnish")] = f"vcl_path={conf}"
        return [
            self._program,
            "-F",
            "-n",
            str(self.directory / f"work-{os.getpid()}"),
            "-f",
            str(conf / "touchline.vcl"),
            *arguments,
        ]


_KINDS = {"nginx": NginxCache, "lua": LuaCache, "varnish": VarnishCache}


def start_cache(kind: str, origin_port: int) -> Cache:
    """A running cache: ``nginx``, ``lua`` or ``varnish``."""
    return _KINDS[kind](origin_port).start()


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new))
