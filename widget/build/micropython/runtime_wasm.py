"""MicroPython's WebAssembly without what a compiled image never reaches: a quarter less to fetch.

Three parts go:

- The compiler. The image is bytecode, so nothing in a browser reads Python's source. Its functions are
  replaced by ones that trap, and Binaryen then drops what only they called.
- The modules that the package has frozen into it (asyncio, unittest, tarfile, …), but for ``FROZEN_KEPT``.
  Their bytecode is blanked, which compresses to nothing, and so are their names: an import of one is an
  ImportError.
- The texts of the functions in JavaScript, which only the linker reads.

A frozen module is found by its name and through the tables that lead to it. The compiler has no names in a
stripped file, so its place is a fact of one release, ``RELEASE``: another one is refused until somebody has
looked.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["FROZEN_KEPT", "RuntimeCutError", "cut_runtime", "frozen_modules"]

# The SHA-256 of the file that COMPILER was found in: that of 1.29.0-6.
RELEASE: Final = "d5913c9327072e71d3e7a2e9384ea326f7d784bcc2f50a01b602c52bd2bdcafd"
# By their place in the code section: from the lexer to the emitter of bytecode, which MicroPython's build has
# in one row. Found by counting calls (decision 84): all but four of these run while a variety of sources is
# compiled, and none of them while a corpus of 5,448 requests (tests/widget/corpus.py) is answered.
COMPILER: Final = range(126, 306)
# What the image imports of the frozen modules, and what these import.
FROZEN_KEPT: Final = frozenset({"binascii.py", "collections/__init__.py", "collections/defaultdict.py"})

_MAGIC: Final = b"\0asm\1\0\0\0"
_CODE, _DATA = 10, 11
# No local variables; unreachable; end.
_TRAP: Final = b"\x00\x00\x0b"
_NAMES: Final = re.compile(rb"(?:[\w/]+\.py\0){8,}\0")
_SCRIPTS: Final = re.compile(rb"\([^\0()]*\)<::>\{[^\0]*\}\0")
# Of a frozen module the build has three addresses: its names, its constants and its code.
_MODULE: Final = struct.Struct("<III")


class RuntimeCutError(Exception):
    """The file is of another release, or is not what it was taken for."""


def cut_runtime(wasm: bytes) -> bytes:
    """The same runtime for compiled images only.

    Raises:
        RuntimeCutError: see there.
    """
    if hashlib.sha256(wasm).hexdigest() != RELEASE:
        raise RuntimeCutError("micropython.wasm is of another release: find the place of its compiler anew")
    out = bytearray(_MAGIC)
    for kind, body in _sections(wasm):
        if kind == _CODE:
            body = _without_functions(body)
        elif kind == _DATA:
            body = _without_data(body)
        out += bytes([kind]) + _number(len(body)) + body
    return bytes(out)


def frozen_modules(wasm: bytes) -> list[str]:
    """The files of the modules that are frozen into a runtime, by their paths.

    Raises:
        RuntimeCutError: it has no such list.
    """
    for kind, body in _sections(wasm):
        if kind == _DATA:
            return _frozen_names(body)[1]
    raise RuntimeCutError("the runtime has no data")


def _without_functions(body: bytes) -> bytes:
    count, at = _read(body, 0)
    out = bytearray(_number(count))
    for place in range(count):
        size, start = _read(body, at)
        at = start + size
        code = _TRAP if place in COMPILER else body[start:at]
        out += _number(len(code)) + code
    return bytes(out)


def _without_data(body: bytes) -> bytes:
    out = bytearray(body)
    for found in _SCRIPTS.finditer(body):
        out[found.start() : found.end()] = bytes(len(found[0]))
    names_at, names = _frozen_names(body)
    # Addresses in memory, of which the modules' are in the segment that has the names.
    base, start, end = next(one for one in _segments(body) if one[1] <= names_at < one[2])
    tables = _module_tables(body[start:end], base, names_at - start, len(names))
    starts = [table[0] for table in tables]
    # Of the last module nothing says where it ends.
    named_at = names_at
    for name, first, last in zip(names, starts, [*starts[1:], tables[-1][2]], strict=True):
        if name not in FROZEN_KEPT:
            at = start + first - base
            out[at : at + last - first] = bytes(last - first)
            out[named_at : named_at + len(name)] = b"-" * len(name)
        named_at += len(name) + 1
    return bytes(out)


def _frozen_names(body: bytes) -> tuple[int, list[str]]:
    """Where the list of the frozen modules begins, and the list."""
    found = list(_NAMES.finditer(body))
    if len(found) != 1:
        raise RuntimeCutError(f"the runtime has {len(found)} lists of frozen modules, not one")
    return found[0].start(), found[0][0].decode("ascii").rstrip("\0").split("\0")


def _module_tables(segment: bytes, base: int, names_at: int, count: int) -> list[tuple[int, int, int]]:
    """The three addresses of each module. The list of the modules' own addresses tells where they are."""
    for at in range(-base % 4, len(segment) - count * _MODULE.size, 4):
        if at < names_at:
            continue
        addresses = struct.pack(f"<{count}I", *(base + at + place * _MODULE.size for place in range(count)))
        if addresses not in segment:
            continue
        tables = [_MODULE.unpack_from(segment, at + place * _MODULE.size) for place in range(count)]
        ends = [base, *(table[0] for table in tables), base + len(segment)]
        if ends == sorted(ends) and all(ends[n + 1] <= one[2] < ends[n + 2] for n, one in enumerate(tables)):
            return tables
    raise RuntimeCutError("the frozen modules of the runtime are not where they are expected")


def _sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    if not wasm.startswith(_MAGIC):
        raise RuntimeCutError("this is no WebAssembly")
    at = len(_MAGIC)
    while at < len(wasm):
        kind = wasm[at]
        size, start = _read(wasm, at + 1)
        at = start + size
        yield kind, wasm[start:at]


def _segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each segment its address in memory, and where its bytes begin and end in the section."""
    count, at = _read(body, 0)
    for _ in range(count):
        if body[at : at + 2] != b"\x00\x41":
            raise RuntimeCutError("the runtime has data without a fixed address")
        address, at = _read(body, at + 2)
        size, start = _read(body, at + 1)  # after the end of the expression
        at = start + size
        yield address, start, at


def _read(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, the lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    return bytes([*out, value])
