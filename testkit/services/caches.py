"""The shipped caches, as the tests start them: the files of ``deploy/``, with other ports."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from deploy.ports import free_port
from deploy.sites import NGINX, VARNISH, NginxSite, write_nginx
from testkit.services.process import ServerProcess, listening, require_program, unavailable

__all__ = ["PURGE_TOKEN", "Cache", "NginxCache", "VarnishCache", "start_cache"]

PURGE_TOKEN = "a-purge-token-of-the-tests-of-thirty-two"
_LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


class Cache:
    """One cache in front of an origin on a loopback port; ``start`` after ``kill`` keeps what is on disk.

    Attributes:
        port: where it takes HTTP.
        proxy_protocol: whether each connection begins with a PROXY header.
        workers: of nginx; Varnish has threads.
    """

    def __init__(self, origin_port: int, *, proxy_protocol: bool = False, workers: int = 1) -> None:
        self.proxy_protocol = proxy_protocol
        self.workers = workers
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
    """nginx by ``deploy/nginx``; also on ``tls_port``, with TLS and HTTP/2.

    With ``proxy_protocol`` it listens by the lines that ``site-listen.conf`` has for that.
    """

    configuration = "nginx.conf"
    #: Whether the operators' console is reached through it.
    console = False

    def _prepare(self, origin_port: int) -> None:
        self._program = require_program("nginx")
        self.tls_port = free_port()
        listen = _listen_lines(self.proxy_protocol)
        for shipped, port in (("listen 80 ", self.port), ("listen 443 ", self.tls_port)):
            assert any(line.startswith(shipped) for line in listen), f"site-listen.conf has no {shipped!r}"
            listen = [line.replace(shipped, f"listen 127.0.0.1:{port} ") for line in listen]
        # The worker count of the tests' machine would make the counts of origin requests its own. The limit
        # of open files stays above the connections: a worker reads kept answers by files, too.
        files = min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        site = NginxSite(
            listen=listen,
            origin=f"127.0.0.1:{origin_port}",
            once_port=free_port(),
            purge_token=PURGE_TOKEN,
            processes=self.workers,
            connections=files - files // 10,
            open_files=files,
            console=self.console,
        )
        conf = write_nginx(site, self.directory)
        self.certificate = conf / "tls" / "certificate.pem"
        self.certificate.parent.mkdir()
        certificate, key = _certificate()
        self.certificate.write_text(certificate)
        self.certificate.with_name("key.pem").write_text(key)

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
        shutil.copytree(VARNISH, conf)
        _edit(conf / "site-backend.vcl", '"8000"', f'"{origin_port}"')
        _edit(conf / "site-backend.vcl", 'Authorization = ""', f'Authorization = "Bearer {PURGE_TOKEN}"')

    def _argv(self) -> list[str]:
        conf = self.directory / "conf"
        arguments: list[str] = []
        for line in (conf / "varnishd.args").read_text().splitlines():
            if line.startswith("-"):
                arguments += line.split(" ", 1)
        protocol = ",PROXY" if self.proxy_protocol else ""
        arguments[arguments.index(":6081")] = f"127.0.0.1:{self.port}{protocol}"
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


def start_cache(kind: str, origin_port: int, *, proxy_protocol: bool = False, workers: int = 1) -> Cache:
    """A running cache: ``nginx``, ``lua`` or ``varnish``.

    Args:
        kind: which.
        origin_port: of the origin on loopback.
        proxy_protocol: whether it takes connections with a PROXY header alone.
        workers: of nginx.
    """
    return _KINDS[kind](origin_port, proxy_protocol=proxy_protocol, workers=workers).start()


def _listen_lines(proxy_protocol: bool) -> list[str]:
    """What ``site-listen.conf`` has; with ``proxy_protocol`` the lines that stand there as a comment."""
    text = (NGINX / "site-listen.conf").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if proxy_protocol:
        behind = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
        lines = behind + [line for line in lines if not line.startswith("listen ")]
        lines = [line.replace("10.0.0.0/8", "127.0.0.1") for line in lines]
    return lines


@functools.cache
def _certificate() -> tuple[str, str]:
    """A certificate for ``localhost`` and its key, once for all tests."""
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = Path(directory, "certificate.pem"), Path(directory, "key.pem")
        subprocess.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN=localhost -keyout {key} -out {certificate}".split(),
            check=True,
            capture_output=True,
        )
        return certificate.read_text(), key.read_text()


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new))
