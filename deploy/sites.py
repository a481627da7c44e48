"""The ``site-…`` files of ``deploy/nginx`` for an nginx that is not on this machine's usual ports.

The demonstration cluster, the tests and the benches run the shipped configuration with these files alone
written anew, so all of them run what operators run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["NGINX", "VARNISH", "NginxSite", "write_nginx"]

NGINX: Final = Path(__file__).parent / "nginx"
VARNISH: Final = Path(__file__).parent / "varnish"


@dataclass(frozen=True, slots=True)
class NginxSite:
    """What differs from one nginx to another.

    Attributes:
        listen: lines for its server block, such as ``listen 127.0.0.1:8080;``.
        origin: ``host:port`` that pages and polls are asked for at.
        once_port: a free port on loopback by which it asks itself.
        streams: ``host:port`` that streams are asked for at; the origin if empty.
        ingest: ``host:port`` that webhooks go to; the origin if empty.
        host: the only ``Host`` that the origin sees.
        status_port: a free port on loopback for ``/status``; none if None.
        console: whether the operators' console is reached through it.
        purge_token: the bearer token of those who may purge; nobody may if empty.
        processes: how many workers.
        connections: of each worker.
        open_files: of each worker.
    """

    listen: Sequence[str]
    origin: str
    once_port: int
    streams: str = ""
    ingest: str = ""
    host: str = "scores.example"
    status_port: int | None = None
    purge_token: str = ""
    console: bool = False
    processes: int = 1
    connections: int = 60_000
    open_files: int = 65_536


def write_nginx(site: NginxSite, directory: Path) -> Path:
    """Copy ``deploy/nginx`` with the files of a site.

    Args:
        site: what is written.
        directory: where ``conf/`` and the prefix ``run/`` are made; nginx's own account must come through.

    Returns:
        The directory with ``nginx.conf`` and ``nginx-lua.conf``.
    """
    conf = directory / "conf"
    shutil.copytree(NGINX, conf)
    (directory / "run").mkdir(mode=0o755)
    upstreams = {
        "touchline_origin": (site.origin, "keepalive 64; "),
        "touchline_streams": (site.streams or site.origin, ""),
        "touchline_ingest": (site.ingest or site.origin, ""),
        "touchline_once": (f"127.0.0.1:{site.once_port}", "keepalive 64; "),
    }
    status = ""
    if site.status_port is not None:
        status = f"server {{ listen 127.0.0.1:{site.status_port}; location = /status {{ stub_status; }} }}\n"
    files = {
        "site-process.conf": (
            f"worker_processes {site.processes};\nworker_rlimit_nofile {site.open_files};\n"
            f"events {{ worker_connections {site.connections}; multi_accept on; }}\n"
        ),
        "site-listen.conf": "".join(f"{line}\n" for line in site.listen),
        "site-origin.conf": "".join(
            f"upstream {name} {{ server {address} max_fails=0; {keep}}}\n"
            for name, (address, keep) in upstreams.items()
        )
        + f'map "" $touchline_host {{ default "{site.host}"; }}\n',
        "site-once.conf": f"listen 127.0.0.1:{site.once_port} backlog=4096;\n",
        "site-status.conf": status,
        "site-purge.conf": f'"Bearer {site.purge_token}" 1;\n' if site.purge_token else "",
        "site-console.conf": "include console.conf;\n" if site.console else "return 404;\n",
        "site-lua.conf": f'lua_package_path "{conf}/?.lua;/usr/share/lua/5.1/?.lua;;";\n',
    }
    for name, text in files.items():
        if not (NGINX / name).exists():
            raise FileNotFoundError(f"{NGINX} has no {name}: nothing includes it")
        (conf / name).write_text(text, encoding="utf-8")
    return conf
