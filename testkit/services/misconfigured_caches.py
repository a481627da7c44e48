"""nginx and Varnish as they are misconfigured: each mistake on a port of its own, in one process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.ports import free_port
from testkit.services.process import ServerProcess, listening, require_program

__all__ = ["MisconfiguredNginx", "MisconfiguredVarnish"]

_PASS = (
    "proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1;"
    " proxy_set_header Connection $upgrade_connection; proxy_set_header Upgrade $http_upgrade;"
)


class MisconfiguredNginx:
    """An nginx with a server block for each mistake.

    Args:
        origin_port: of the origin.
        servers: by name, the text of a server block without its ``listen``; ``{pass_on}`` in it is a working
            hand-over to the origin, ``{origin}`` the origin's port, ``{cache}`` a zone for ``proxy_cache``.
        listen: by name, what follows the port in ``listen``: ``ssl http2``.
    """

    def __init__(
        self, origin_port: int, servers: Mapping[str, str], listen: Mapping[str, str] | None = None
    ) -> None:
        program = require_program("nginx")
        self._directory = Path(tempfile.mkdtemp(prefix="touchline-bad-nginx-"))
        self._directory.chmod(0o755)
        self.ports = {name: free_port() for name in servers}
        passing = _PASS.replace("{origin}", str(origin_port))
        blocks = "".join(
            f"server {{ listen 127.0.0.1:{self.ports[name]} {(listen or {}).get(name, '')};\n"
            + text.replace("{pass_on}", passing).replace("{origin}", str(origin_port))
            .replace("{cache}", f"proxy_cache {name}").replace("{port}", str(self.ports[name]))
            + "}\n"
            for name, text in servers.items()
        )  # fmt: skip
        zones = "".join(f"proxy_cache_path cache-{name} keys_zone={name}:1m;\n" for name in servers)
        temporary = "".join(
            f"{kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = self._directory / "nginx.conf"
        conf.write_text(
            f"daemon off; pid nginx.pid; error_log stderr warn; worker_processes 1;\n"
            f"events {{ worker_connections 1024; }}\nhttp {{ access_log off;\n{temporary}{zones}"
            f"proxy_buffering off; proxy_read_timeout 60s;\n"
            f"map $http_upgrade $upgrade_connection {{ default upgrade; '' ''; }}\n{blocks}}}\n"
        )
        self._process = ServerProcess(
            [program, "-p", f"{self._directory}/", "-c", str(conf)], log_path=self._directory / "nginx.log"
        )
        self._process.wait_until(lambda: all(map(listening, self.ports.values())))

    def url(self, name: str, scheme: str = "http") -> str:
        """Where a mistake is."""
        host = "localhost" if scheme == "https" else "127.0.0.1"
        return f"{scheme}://{host}:{self.ports[name]}"

    def close(self) -> None:
        self._process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class MisconfiguredVarnish:
    """A Varnish with one mistake.

    Args:
        origin_port: of the origin.
        subroutines: its VCL after the backend.
    """

    def __init__(self, origin_port: int, subroutines: str) -> None:
        program = require_program("varnishd")
        self._directory = Path(tempfile.mkdtemp(prefix="touchline-bad-varnish-"))
        self._directory.chmod(0o755)
        self.port = free_port()
        vcl = self._directory / "bad.vcl"
        vcl.write_text(
            f'vcl 4.1;\nbackend origin {{ .host = "127.0.0.1"; .port = "{origin_port}"; }}\n{subroutines}\n'
        )
        work = str(self._directory / f"work-{os.getpid()}")
        argv = [program, "-F", "-n", work, "-f", str(vcl), "-a", f"127.0.0.1:{self.port}", "-s", "malloc,16m"]
        argv += ["-p", "thread_pools=1", "-p", "thread_pool_min=20"]
        self._process = ServerProcess(argv, log_path=self._directory / "varnish.log")
        self._process.wait_until(lambda: listening(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> MisconfiguredVarnish:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
