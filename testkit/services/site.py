"""A site in front of an origin, by nginx: below a path, behind a password, or with pages of its own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.ports import free_port
from testkit.services.origin import OriginServer
from testkit.services.process import ServerProcess, listening, require_program

__all__ = ["Site"]

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
    server {{
        listen 127.0.0.1:{port};
        {password}
        {pages}
        location {path}/ {{
            {answer}
        }}
    }}
}}
"""
_PROXY = """
proxy_pass http://127.0.0.1:{origin_port}/;
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header Connection "";
proxy_buffering off;
proxy_read_timeout 1h;
"""


class Site:
    """One nginx on a loopback port. It runs within the ``with`` block of ``Site(...)``, or of ``of``.

    Args:
        server: the origin behind it.
        pages: pages of the site's own, by path: their HTML. They are private, as an account's page is.
        user: with ``password``, who may see anything of it.
        password: see ``user``.
    """

    def __init__(
        self,
        server: OriginServer | None = None,
        *,
        pages: Mapping[str, str] | None = None,
        user: str = "",
        password: str = "",
    ) -> None:
        self.port = free_port()
        self._server = server
        self._path = ""
        self._pages = pages or {}
        self._user, self._password = user, password
        self._process: ServerProcess | None = None
        # Not below pytest's own directory, which is closed to the account that nginx runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="touchline-site-"))
        self._folder.chmod(0o755)

    @classmethod
    def below(cls, path: str) -> Site:
        """A site that has an origin below a path; ``of`` says which."""
        site = cls()
        site._path = path
        return site

    def of(self, server: OriginServer) -> Site:
        """The origin behind it."""
        self._server = server
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, *, portal: str = "", cache_control: str = "") -> None:
        """Start it again as another: one that answers everything with a page, or sets another lifetime."""
        self.stop()
        assert self._server is not None
        answer = _PROXY.format(origin_port=self._server.port)
        if cache_control:
            answer += f'proxy_hide_header Cache-Control; add_header Cache-Control "{cache_control}";'
        if portal:
            answer = f"default_type text/html; return 200 '{portal}';"
        password = ""
        if self._user:
            digest = base64.b64encode(hashlib.sha1(self._password.encode()).digest()).decode()
            (self._folder / "users").write_text(f"{self._user}:{{SHA}}{digest}\n")
            password = f'auth_basic "staging"; auth_basic_user_file {self._folder}/users;'
        pages = "".join(
            f"location = {path} {{ default_type text/html; add_header Cache-Control 'private, no-store';"
            f" return 200 '<!doctype html>{html}'; }}\n"
            for path, html in self._pages.items()
        )
        configuration = self._folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                port=self.port,
                password=password,
                pages="" if portal else pages,
                path=self._path,
                answer=answer,
            )
        )
        argv = [require_program("nginx"), "-p", os.fspath(self._folder), "-c", os.fspath(configuration)]
        self._process = ServerProcess(argv, log_path=self._folder / "log")
        self._process.wait_until(lambda: listening(self.port))

    def stop(self) -> None:
        """Nobody answers from now on."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Site:
        self.configure()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
