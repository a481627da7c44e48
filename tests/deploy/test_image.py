"""The image's own steps, run in a clean directory; its wheel, in a bare virtual environment."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from deploy.ports import free_port
from origin.ingest.key_file import KeyFile
from testkit.container import USER, compiled_seccomp, contained
from testkit.services.process import ServerProcess, unavailable

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


def allowed_by_dockerignore() -> list[str]:
    """What .dockerignore lets into the build's context."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@dataclass(frozen=True)
class Built:
    """Attributes:
    wheel: the file.
    application: the virtual environment that the image has at /opt/touchline.
    tools: the one that built it.
    """

    wheel: Path
    application: Path
    tools: Path


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    """All steps of deploy/docker/build.sh, on nothing but what the image's context has."""
    # Not below pytest's own directory, which no other user may enter.
    place = Path(tempfile.mkdtemp(prefix="touchline-image-"))
    place.chmod(0o755)
    try:
        context = place / "src"
        context.mkdir()
        for name in allowed_by_dockerignore():
            source = ROOT / name
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignored = shutil.ignore_patterns(
                    "__pycache__", "dist", "dist-npm", "dist.new", "node_modules"
                )
                shutil.copytree(source, context / name, ignore=ignored)
            else:
                shutil.copyfile(source, context / name)
        # What npm fetched and what was cut down before; an engine's cache has it too.
        (context / ".cache").mkdir()
        (context / ".cache" / "widget").symlink_to((ROOT / ".cache" / "widget").resolve())
        tools, application, wheel = place / "tools", place / "application", place / "wheel"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for step in (
            ("tools", tools),
            ("dependencies", tools, application),
            ("wheel", tools, wheel),
            ("application", application, tools, wheel),
        ):
            done = subprocess.run(
                ["sh", "deploy/docker/build.sh", *map(str, step)],
                cwd=context,
                env=environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert done.returncode == 0, f"{step[0]}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        yield Built(next(wheel.glob("*.whl")), application, tools)
    finally:
        shutil.rmtree(place)


def answer(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


# ---- the wheel


def test_the_wheel_has_the_widget_and_the_notices(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        manifest = json.loads(wheel.read("widget/dist/manifest.json"))
    assert {f"widget/dist/{file['path']}" for file in manifest["files"].values()} <= set(names)
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "THIRD-PARTY-NOTICES.md"} <= licences
    assert [name for name in names if name.startswith(("tests/", "testkit/", "bench/"))] == []


def test_the_wheel_alone_plays_the_demo(built: Built, tmp_path: Path) -> None:
    """As ``uvx touchline demo`` does: no Node, no make, no source tree, an empty directory."""
    bare, empty, port = tmp_path / "bare", tmp_path / "empty", free_port()
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    subprocess.run(
        [
            *(
                str(built.tools / "bin" / "uv"),
                "pip",
                "install",
                "--quiet",
                "--python",
                str(bare / "bin/python"),
            ),
            *("--constraint", str(ROOT / "requirements-runtime.lock"), str(built.wheel)),
        ],
        check=True,
        timeout=300,
        cwd=empty,
    )
    argv = [str(bare / "bin" / "touchline"), "demo", "--port", str(port), "--speed", "3000"]
    environment = {"PATH": str(bare / "bin"), "HOME": str(empty), "TMPDIR": str(tmp_path), "LANG": "C.UTF-8"}
    match = "2018-07-15-france-croatia"
    with ServerProcess(
        ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items()), *argv],
        log_path=tmp_path / "demo.log",
        cwd=empty,
    ) as demo:

        def there_was_a_goal() -> bool:
            status, body = answer(port, f"/api/match/{match}/state")
            if status != 200:
                return False
            score = json.loads(body)["score"]
            return bool(score["home"] + score["away"] > 0)

        demo.wait_until(there_was_a_goal, timeout_s=90)
        status, page = answer(port, f"/match/{match}")
        assert status == 200
        loader = re.search(rb'src="(/widget/live-score-[0-9a-f]+\.js)"', page)
        assert loader is not None
        assert answer(port, loader[1].decode())[0] == 200
    assert list(empty.iterdir()) == []


# ---- the image


def test_what_the_image_installs_runs_as_another_user_on_a_read_only_root(built: Built) -> None:
    """With the shipped seccomp profile, under which io_uring is there; and the health check answers."""
    volume = Path(tempfile.mkdtemp(prefix="touchline-volume-"))
    port = free_port()
    program = compiled_seccomp(DOCKER / "seccomp.json")
    try:
        volume.chmod(0o755)
        os.chown(volume, USER, USER)
        touchline = str(built.application / "bin" / "touchline")
        argv = contained(
            [touchline, "serve", "--host", "127.0.0.1", "--port", str(port)],
            shown=[built.application],
            writable=volume,
            seccomp=9,
        )
        health = contained(
            [str(built.application / "bin" / "python"), str(built.application / "healthcheck.py")],
            shown=[built.application],
            writable=volume,
            seccomp=None,
        )
        url = f"http://127.0.0.1:{port}/healthz"
        log = Path(tempfile.mkdtemp(prefix="touchline-log-")) / "origin.log"
        # The process is started without our descriptors, so its shell opens the filter anew.
        with ServerProcess(
            ["sh", "-c", f'exec "$@" 9<"/proc/{os.getpid()}/fd/{program}"', "sh", *argv],
            log_path=log,
            env={"EVENTLOG_URL": f"sqlite:///{volume}/log.db", "PYTHONPATH": ""},
        ) as origin:
            origin.wait_until(lambda: answer(port, "/readyz")[0] == 200, timeout_s=60)
            status, metrics = answer(port, "/metrics")
            assert status == 200
            entries = re.search(rb"^touchline_stream_ring_entries (\S+)", metrics, re.MULTILINE)
            assert entries is not None
            assert float(entries[1]) > 0
            asked = subprocess.run(
                health, env=os.environ | {"HEALTHCHECK_URL": url, "PYTHONPATH": ""}, check=False, timeout=60
            )
            assert asked.returncode == 0
        assert (volume / "log.db").stat().st_uid == USER
        asked = subprocess.run(
            health, env=os.environ | {"HEALTHCHECK_URL": url}, check=False, timeout=60, capture_output=True
        )
        assert asked.returncode == 1
        shutil.rmtree(log.parent)
    finally:
        os.close(program)
        shutil.rmtree(volume)


def test_the_container_of_the_tests_forbids_what_the_image_does(built: Built) -> None:
    """Or the test above would show nothing: writes, a new namespace and another user's files are refused."""
    volume = Path(tempfile.mkdtemp(prefix="touchline-volume-"))
    program = compiled_seccomp(DOCKER / "seccomp.json")
    code = (
        "import ctypes, os, sys\n"
        f"assert os.getuid() == {USER}\n"
        "for path in ('/x', sys.prefix + '/x', '/var/x', '/usr/x'):\n"
        "    try: open(path, 'w')\n"
        "    except OSError: pass\n"
        "    else: sys.exit(path)\n"
        "open('/tmp/x', 'w').write('x')\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == 38, ctypes.get_errno()\n"
    )
    try:
        argv = contained(
            [str(built.application / "bin" / "python"), "-c", code],
            shown=[built.application],
            writable=volume,
            seccomp=program,
        )
        done = subprocess.run(
            argv, pass_fds=[program], check=False, timeout=60, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    finally:
        os.close(program)
        shutil.rmtree(volume)


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://10.0.0.1/healthz", "asks its own container"), ("file:///etc/passwd", "asks its own container")],
)
def test_a_health_check_of_somebody_else_is_refused(url: str, says: str) -> None:
    done = subprocess.run(
        [sys.executable, str(DOCKER / "healthcheck.py")],
        env=os.environ | {"HEALTHCHECK_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert url in done.stderr


def test_the_dockerfile_has_no_finding() -> None:
    """Pins of the two base images by digest are the operator's (DL3006 is about tags, which they have)."""
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        unavailable("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", str(DOCKER / "Dockerfile")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_step_of_the_dockerfile_is_one_of_the_script() -> None:
    """Else what is tried here would not be what an engine runs."""
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    ran = re.findall(r"sh deploy/docker/build\.sh (\w+)", dockerfile)
    assert ran == ["tools", "dependencies", "wheel", "application"]
    assert "USER 65532:65532" in dockerfile
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == [
        "${NODE_IMAGE}",
        "${PYTHON_IMAGE}",
        "${PYTHON_IMAGE}",
    ]


def test_no_secret_of_a_work_tree_comes_into_the_image() -> None:
    """Only what is named comes in: programs, sources and lock files. Keys lie beside the compose files."""
    assert not {"deploy", "deploy/docker", "."} & set(allowed_by_dockerignore())
    for name in allowed_by_dockerignore():
        assert "keys" not in name
        assert (ROOT / name).exists(), name
    assert "/deploy/docker/ingest-keys" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_composition_begins_with_a_closed_ingest() -> None:
    for name in ("compose.yaml", "compose.stack.yaml"):
        composed = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
        default = re.search(r":-(\S+)\}", composed["secrets"]["ingest-keys"]["file"])
        assert default is not None
        assert KeyFile(str(DOCKER / default[1])).current() == ()


# ---- compose


@pytest.mark.parametrize("name", ["compose.yaml", "compose.stack.yaml"])
def test_every_service_of_ours_is_confined(name: str) -> None:
    composed = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
    ours = {key: one for key, one in composed["services"].items() if one.get("image") == "touchline"}
    assert ours
    for key, one in ours.items():
        assert one["read_only"] is True, key
        assert one["cap_drop"] == ["ALL"], key
        assert "no-new-privileges:true" in one["security_opt"], key
        assert "seccomp=./seccomp.json" in one["security_opt"], key
        assert int(one["stop_grace_period"].removesuffix("s")) >= 35, key
        assert set(one.get("command", ["serve"])[:1]) <= {"serve", "fanout", "ingest"}, key
        for setting in one.get("environment", {}):
            assert not setting.startswith("TOUCHLINE_") or setting in known_settings(), setting
    named = {source for one in composed["services"].values() for source in volumes_of(one)}
    assert named <= set(composed.get("volumes", {}))


def known_settings() -> frozenset[str]:
    from origin.config import SETTINGS

    return frozenset(SETTINGS)


def volumes_of(service: dict[str, object]) -> Iterator[str]:
    volumes = service.get("volumes", [])
    assert isinstance(volumes, list)
    for volume in volumes:
        source = str(volume).partition(":")[0]
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
        else:
            yield source
