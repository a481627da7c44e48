"""The widget's files: what ``widget.build`` left in ``widget/dist``, with the lifetimes each may have.

A file has two names. The one with its content's hash in it never changes, so every cache keeps it for a
year; pages of this origin use it. Some also have a stable name (``STABLE_NAMES``), because other people's
pages and the service worker's registration must not have to know about a release: it lives for minutes and is
answered in place, since a redirect would cost each embed a round trip.

The files of the release before are served by their hashed names too: pages that are open or in a cache name
them.

Nothing is compressed here: the build left ``.br``, ``.zst`` and ``.gz`` beside each file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Blueprint, Flask, Response, request

from origin.errors import ConfigError, RequestError
from origin.web.cache_policy import IMMUTABLE, SERVICE_WORKER, STABLE_NAME, set_policy
from origin.web.compression import chosen_coding
from shared_state.jsontext import Json

__all__ = ["Asset", "Assets", "init_app"]

DIST: Final = Path(__file__).parents[2] / "widget" / "dist"
STABLE_NAMES: Final[Mapping[str, str]] = {
    "live-score.js": STABLE_NAME,
    "live-score.css": STABLE_NAME,
    "frame.js": STABLE_NAME,
    "measure.js": STABLE_NAME,
    "sw.js": SERVICE_WORKER,
}
MIME_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",  # anything else, and a browser refuses to compile it while it arrives
    ".zip": "application/zip",
}
# By preference: the smaller first.
ENCODINGS: Final[Mapping[str, str]] = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One built file.

    Attributes:
        path: its name below ``dist``, with the hash in it.
        integrity: ``sha256-…``, as in a script's ``integrity`` attribute.
    """

    path: str
    integrity: str


class Assets:
    """What the build left, by the names the sources have."""

    def __init__(
        self, dist: Path, files: Mapping[str, Asset], site_path: str = "", former: Sequence[Asset] = ()
    ) -> None:
        self.dist = dist
        self._site_path = site_path
        self._files = dict(files)
        self._paths = {asset.path: asset for asset in (*former, *files.values())}
        self._content: dict[Path, bytes] = {}

    @classmethod
    def load(cls, dist: Path = DIST, site_path: str = "") -> Assets:
        """Read the manifest.

        Args:
            dist: the folder of the build.
            site_path: the path below which readers reach this origin, ``/scores``; empty: the root.

        Raises:
            ConfigError: the widget is not built, or its manifest cannot be read.
        """
        manifest = dist / "manifest.json"
        try:
            content: Json = json.loads(manifest.read_bytes())
            files = {
                name: Asset(entry["path"], entry["integrity"]) for name, entry in content["files"].items()
            }
            former = [
                Asset(entry["path"], entry["integrity"]) for entry in content.get("former", {}).values()
            ]
        except FileNotFoundError:
            raise ConfigError(f"{manifest} is missing: the widget is not built; run `make setup`") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{manifest} cannot be read: {error!r}; run `make setup`") from error
        return cls(dist, files, site_path, former)

    def url(self, name: str) -> str:
        """The immutable URL of a file by its source's name, for a template: ``asset("page.css")``.

        Raises:
            ConfigError: the build made no such file.
        """
        asset = self._files.get(name)
        if asset is None:
            raise ConfigError(f"the widget's build has no {name!r}: it has {' '.join(sorted(self._files))}")
        return f"{self._site_path}/widget/{asset.path}"

    def integrity(self, name: str) -> str:
        """What a script's ``integrity`` attribute says of a file by its source's name.

        Raises:
            ConfigError: the build made no such file.
        """
        self.url(name)
        return self._files[name].integrity

    def content(self, path: Path) -> bytes:
        """The bytes of a built file: read once, and the same object for all who wait for it.

        So a hundred readers of the largest file cost its size once. The build as a whole is the bound.
        """
        content = self._content.get(path)
        if content is None:
            content = self._content.setdefault(path, path.read_bytes())
        return content

    def find(self, name: str) -> tuple[Asset, str]:
        """The file behind a name below ``/widget/``, and its ``Cache-Control``.

        Raises:
            RequestError: 404 there is no such file; nothing outside the manifest can be had.
        """
        if name in STABLE_NAMES and name in self._files:
            return self._files[name], STABLE_NAMES[name]
        asset = self._paths.get(name)
        if asset is None:
            raise RequestError(404, "unknown_asset", f"no widget file {name!r}", name=name)
        return asset, IMMUTABLE


def init_app(app: Flask, dist: Path = DIST, site_path: str = "") -> Assets:
    """Serve ``/widget/…`` and give templates ``asset(name)``.

    Args:
        app: the application.
        dist: the folder of the build.
        site_path: the path below which readers reach this origin; the proxy in front takes it away.

    Raises:
        ConfigError: the widget is not built.
    """
    assets = Assets.load(dist, site_path)
    blueprint = Blueprint("assets", __name__)

    @blueprint.get("/widget/<path:name>")
    def widget_file(name: str) -> Response:
        asset, cache_control = assets.find(name)
        return _answer(assets, asset, cache_control, name)

    app.register_blueprint(blueprint)
    app.add_template_global(assets.url, "asset")
    app.add_template_global(assets.integrity, "integrity")
    return assets


def _answer(assets: Assets, asset: Asset, cache_control: str, name: str) -> Response:
    path = assets.dist / asset.path
    copies = {
        coding: copy
        for coding, suffix in ENCODINGS.items()
        if (copy := path.with_name(path.name + suffix)).exists()
    }
    encoding = chosen_coding(request.accept_encodings, copies)
    path = copies.get(encoding, path)
    response = Response(assets.content(path), mimetype=None)
    response.headers["Content-Type"] = MIME_TYPES.get(Path(asset.path).suffix, "application/octet-stream")
    set_policy(response, cache_control)
    response.headers["Vary"] = "Accept-Encoding"
    if encoding:
        response.headers["Content-Encoding"] = encoding
    if name == "sw.js":
        # Its path is below /widget/, and its scope is the whole site.
        response.headers["Service-Worker-Allowed"] = "/"
    # Each encoding is another sequence of bytes, so another strong validator.
    response.set_etag(asset.integrity.removeprefix("sha256-")[:22] + (f"-{encoding}" if encoding else ""))
    response.make_conditional(request)
    return response
