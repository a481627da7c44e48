"""What MkDocs calls while it builds the site: pages made from other files, and links that leave the docs.

The pages of ``docs/`` are read on their own too, so they link to files beside the folder. The site has a page
for some of these; for the others it names the file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
API: Final = ROOT / "docs" / "api"
#: Pages of the site that are made of files elsewhere, by their address in it.
BESIDE: Final = {
    "index.md": "README.md",
    "widget.md": "widget/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
MADE: Final = {"http-api.md": "docs/api/openapi.yaml", "streams-api.md": "docs/api/asyncapi.yaml"}
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files elsewhere, and the pictures that those show."""
    for address, path in BESIDE.items():
        files.append(File.generated(config, address, content=(ROOT / path).read_text(encoding="utf-8")))
    files.append(File.generated(config, "http-api.md", content=http_api(_load("openapi.yaml"))))
    files.append(File.generated(config, "streams-api.md", content=streams_api(_load("asyncapi.yaml"))))
    for picture in sorted((ROOT / "bench" / "results").glob("*.svg")):
        address = f"results/{picture.name}"
        files.append(File.generated(config, address, content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links to files of the repository into links to their pages, or into their names."""
    source = page.file.src_uri
    here = posixpath.dirname(BESIDE.get(source, f"docs/{source}"))

    def turned(found: re.Match[str]) -> str:
        picture, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(here, target))
        address = _address(path)
        if address is None:
            return f"{text} (`{path}`)" if text.strip("`") != path else text
        relative = posixpath.relpath(address, posixpath.dirname(source) or ".")
        return f"{picture}[{text}]({relative}{anchor})"

    return _LINK.sub(turned, markdown)


def _address(path: str) -> str | None:
    """Where the site has a file of the repository; None if nowhere."""
    for address, original in (BESIDE | MADE).items():
        if path == original:
            return address
    if path.startswith("bench/results/") and path.endswith(".svg"):
        return f"results/{posixpath.basename(path)}"
    if path.startswith("docs/") and not path.startswith("docs/site") and (ROOT / path).is_file():
        return path.removeprefix("docs/")
    return None


def _load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((API / name).read_text(encoding="utf-8"))
    return found


def http_api(document: Mapping[str, Any]) -> str:
    """The reference of all operations, from OpenAPI."""
    lines = ["# HTTP", "", document["info"]["description"], ""]
    lines += ["The document for programs: `docs/api/openapi.yaml`.", ""]
    for tag in document["tags"]:
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    lines += _operation(document, path, method, operation)
    lines += ["## Schemas", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += _schema(name, schema)
    return "\n".join(lines)


def _operation(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation["summary"]
    yield ""
    if description := operation.get("description"):
        yield description
        yield ""
    parameters = [_resolved(document, found) for found in operation.get("parameters", [])]
    if parameters:
        yield from ("| parameter | in | values | |", "|---|---|---|---|")
        for found in parameters:
            needed = "**" if found.get("required") and found["in"] != "path" else ""
            cells = (f"{needed}`{found['name']}`{needed}", found["in"], _kind(found["schema"]))
            yield f"| {' | '.join(cells)} | {found.get('description', '')} |"
        yield ""
    if body := operation.get("requestBody"):
        yield f"Body: {body['description']}"
        yield ""
    yield from ("| answer | |", "|---|---|")
    for status, found in operation["responses"].items():
        answer = _resolved(document, found)
        kinds = ", ".join(
            f"`{media}` {_kind(content['schema'])}" for media, content in answer.get("content", {}).items()
        )
        yield f"| {status} | {answer['description']} {kinds} |"
    yield ""


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield schema.get("description", "") or _kind(schema)
    yield ""
    if properties := schema.get("properties"):
        needed = set(schema.get("required", ()))
        yield from ("| member | values | |", "|---|---|---|")
        for member, found in properties.items():
            mark = "**" if member in needed else ""
            yield f"| {mark}`{member}`{mark} | {_kind(found)} | {found.get('description', '')} |"
        yield ""


def streams_api(document: Mapping[str, Any]) -> str:
    """The reference of all channels, from AsyncAPI."""
    lines = ["# Streams", "", document["info"]["description"], ""]
    lines += ["The document for programs: `docs/api/asyncapi.yaml`.", "", "## Channels", ""]
    for channel in document["channels"].values():
        lines += [f"### `{channel['address']}`", "", channel["description"], ""]
        names = [found["$ref"].rpartition("/")[2] for found in channel["messages"].values()]
        lines += ["Messages: " + ", ".join(f"[{name}](#{name.lower()})" for name in names) + ".", ""]
    lines += ["## Messages", ""]
    for key, message in document["components"]["messages"].items():
        lines += [f"### {key}", "", f"{message['title']}. {message.get('summary', '')}", ""]
        for schema in message["payload"].get("oneOf", [message["payload"]]):
            lines += [line for line in _schema("", schema) if line != "### "]
    lines += ["## Schemas", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += _schema(name, schema)
    return "\n".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words of a table's cell."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if "/schemas/" in reference else name
    if "enum" in schema:
        return " ".join(f"`{'null' if value is None else value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "oneOf" in schema:
        return " or ".join(_kind(found) for found in schema["oneOf"])
    kind = schema.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "pattern" in schema:
        words += f" `{schema['pattern']}`".replace("|", "\\|")
    if "minimum" in schema or "maximum" in schema:
        words += f", {schema.get('minimum', '')} to {schema.get('maximum', '…')}"
    if "maxLength" in schema:
        words += f", at most {schema['maxLength']} characters"
    return words


def _resolved(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{key: member for key, member in value.items() if key != "$ref"}}
