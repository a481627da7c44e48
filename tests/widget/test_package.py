"""The npm package: the same bytes each time, installed in an empty folder, typed as the code is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from shared_state.jsontext import JsonObject
from shared_state.notifications import CORRECTED
from testkit.built_widget import manifest
from testkit.services.process import require_program
from widget.build.bundle import ROOT, SOURCES, WIDGET, npm_packages
from widget.build.package import build_package, version

pytestmark = pytest.mark.services

CONSUMER = """
import "@touchline/live-score";
import "@touchline/live-score/react";
import type { GoalDetail } from "@touchline/live-score";
const element = document.createElement("live-score");
element.addEventListener("touchline:goal", ({ detail }) => {
  const goal: GoalDetail = detail;
  const home: number = goal.score.home;
  console.log(goal.team === "home" ? home : goal.player?.length);
});
document.addEventListener("touchline:correction", ({ detail }) => console.log(detail.what, detail.reason));
const props: import("react").JSX.IntrinsicElements["live-score"] = { match: "m", size: "card" };
console.log(props, document.querySelector("live-scores")?.isConnected);
"""
WRONG = 'document.createElement("live-score").addEventListener("touchline:goal", (e) => e.detail.nothing);'


def run(argv: list[str], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_program("npm")
    manifest()
    return build_package(tmp_path_factory.mktemp("package") / "live-score")


def packed(package: Path, folder: Path) -> Path:
    folder.mkdir()
    [name] = json.loads(run(["npm", "pack", str(package), "--json", "--offline"], folder))
    return folder / str(name["filename"])


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare folder with the package in it."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "package.json").write_text('{"private":true,"type":"module"}')
    tarball = packed(package, folder / "tarball")
    run(["npm", "install", "--offline", "--no-audit", "--no-fund", str(tarball)], folder)
    return folder


def test_packing_twice_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = build_package(tmp_path / "again")
    one, other = packed(package, tmp_path / "one"), packed(again, tmp_path / "other")
    assert one.name == other.name == f"touchline-live-score-{version()}.tgz"
    assert one.read_bytes() == other.read_bytes()


def test_it_has_its_licence_and_no_word_of_this_machine(package: Path) -> None:
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "Pyodide (Mozilla Public License 2.0)" in (package / "NOTICE").read_text()
    for file in package.rglob("*"):
        if file.is_file():
            assert str(ROOT) not in file.read_text(encoding="utf-8"), file.name


def test_a_server_may_import_it(installed: Path) -> None:
    """One that renders pages: it has neither a window nor elements."""
    script = 'const names = Object.keys(await import("@touchline/live-score")); console.log(names.join(" "));'
    assert run(["node", "--input-type=module", "-e", script], installed).split() == [
        "LiveScoreElement",
        "LiveScoresElement",
    ]


def test_its_types_are_those_of_the_code(installed: Path) -> None:
    (installed / "react-stub.d.ts").write_text(
        'declare module "react" { export namespace JSX { interface IntrinsicElements {} } }'
    )
    (installed / "page.ts").write_text(CONSUMER)
    (installed / "wrong.ts").write_text(WRONG + "\nexport {};\n" + 'import "@touchline/live-score";')
    options = [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    ]
    tsc = str(npm_packages() / ".bin" / "tsc")
    run([tsc, *options, "react-stub.d.ts", "page.ts"], installed)
    refused = subprocess.run(
        [tsc, *options, "wrong.ts"], cwd=installed, capture_output=True, text=True, check=False
    )
    assert "nothing" in refused.stdout
    assert refused.returncode != 0


def test_whatever_it_loads_later_is_in_it_or_at_the_origin(package: Path) -> None:
    """The publisher's bundler knows no file of ours by a name with a hash."""
    imports = [
        name
        for file in package.glob("*.js")
        for name in re.findall(r"""(?:from|import\(|import)\s*["']([^"']+)["']""", file.read_text("utf-8"))
    ]
    assert any("afterwards" in name for name in imports)
    assert any("html-reader" in name for name in imports)
    assert all((package / name).is_file() for name in imports)


def test_a_bundler_takes_it_as_one_module_and_one_for_lists(installed: Path, tmp_path: Path) -> None:
    (installed / "app.js").write_text('import "@touchline/live-score";\n')
    esbuild = str(npm_packages() / ".bin" / "esbuild")
    run([esbuild, "app.js", "--bundle", "--splitting", "--format=esm", f"--outdir={tmp_path}"], installed)
    names = sorted(file.name.split("-")[0] for file in tmp_path.iterdir())
    assert "app.js" in names
    assert "live" in names


def elements() -> dict[str, JsonObject]:
    content = json.loads((WIDGET / "package" / "custom-elements.json").read_bytes())
    return {element["tagName"]: element for element in content["modules"][0]["declarations"]}


@pytest.mark.parametrize(
    ("tag", "source"),
    [("live-score", "live-score-element.js"), ("live-scores", "live-scores-element.js")],
)
def test_the_manifest_of_the_elements_has_what_the_code_has(tag: str, source: str) -> None:
    code = (SOURCES / source).read_text(encoding="utf-8")
    listed = {attribute["name"] for attribute in elements()[tag]["attributes"]}
    [observed] = re.findall(r"observedAttributes = \[(.*?)\]", code, re.DOTALL)
    assert set(re.findall(r'"([a-z-]+)"', observed)) <= listed
    described = re.split(r"\n \* Attributes\b", code)[1].split("Set by the element")[0]
    named = {
        name
        for line in re.findall(r"^ \*   ([a-z, -]+?) {1,}[a-z\"]", described, re.MULTILINE)
        for name in line.split(", ")
    }
    assert {name.strip() for name in named} <= listed


def test_the_manifest_has_the_events_and_properties_of_the_code() -> None:
    element = elements()["live-score"]
    sources = "".join(file.read_text(encoding="utf-8") for file in SOURCES.glob("*.js"))
    sent = {f"touchline:{name}" for name in re.findall(r'type: "(goal|correction|status)"', sources)}
    sent |= set(re.findall(r'send\(this, "([a-z:-]+)"', sources))
    assert {event["name"] for event in element["events"]} == sent
    css = (SOURCES / "live-score.css").read_text(encoding="utf-8")
    properties = set(re.findall(r"var\((--tl-[a-z-]+)", css))
    assert {each["name"] for each in element["cssProperties"]} >= properties & {
        "--tl-bg",
        "--tl-ink",
        "--tl-accent",
    }


def test_the_types_know_each_correction() -> None:
    events = (SOURCES / "events.js").read_text(encoding="utf-8")
    [kinds] = re.findall(r"@typedef \{(.*?)\} CorrectionKind", events)
    assert re.findall(r'"([a-z_]+)"', kinds) == list(CORRECTED)


def test_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"run python -m widget\.build first"):
        build_package(tmp_path / "out", dist=tmp_path)
    assert not (tmp_path / "out").exists()
