"""A container without an engine: another user, a read-only root and a seccomp profile, by bubblewrap.

What is tried is what the image promises; what is not (its base image, its registry) needs an engine.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testkit.services.process import require_program, unavailable

__all__ = ["USER", "compiled_seccomp", "contained"]

# Of the image; nobody on this machine.
USER: Final = 65532
_ACTIONS: Final = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}
_COMPARISONS: Final = {"SCMP_CMP_MASKED_EQ": 7}


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def compiled_seccomp(profile: Path) -> int:
    """A seccomp profile as Docker reads it, compiled for this machine: a descriptor of the kernel's program.

    A system call that this machine's libseccomp does not know is passed over, as Docker does.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        unavailable("libseccomp")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    rules = json.loads(profile.read_text(encoding="utf-8"))
    context = library.seccomp_init(_ACTIONS[rules["defaultAction"]] | rules["defaultErrnoRet"])
    for rule in rules["syscalls"]:
        given = [
            _Comparison(one["index"], _COMPARISONS[one["op"]], one["value"], one["valueTwo"])
            for one in rule.get("args", ())
        ]
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                added = library.seccomp_rule_add_array(
                    context, _ACTIONS[rule["action"]], number, len(given), (_Comparison * len(given))(*given)
                )
                assert added == 0, f"{name}: {os.strerror(-added)}"
    with tempfile.TemporaryFile() as program:
        assert library.seccomp_export_bpf(context, program.fileno()) == 0
        program.seek(0)
        # Not closed with the file: it is for the child.
        return os.dup(program.fileno())


def contained(
    argv: Sequence[str], *, shown: Sequence[Path], writable: Path, seccomp: int | None
) -> list[str]:
    """A command as a container runs it: as ``USER``, with no capability and two places to write to.

    Args:
        argv: the command.
        shown: directories below /tmp that it may read; the rest of /tmp is empty.
        writable: a directory that it may write to, as a volume, beside /tmp.
        seccomp: of ``compiled_seccomp``; it must be inheritable.
    """
    python = Path(sys.base_prefix)
    seen = [
        word for path in shown for word in (*_parents(path, Path("/tmp")), "--ro-bind", str(path), str(path))
    ]
    # This machine's own Python may be in a home directory that no other user may enter.
    home = Path("/root")
    found = ["--perms", "0755", "--tmpfs", str(home)]
    if python.is_relative_to(home):
        found += [*_parents(python, home), "--ro-bind", str(python), str(python)]
    return [
        *(require_program("bwrap"), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *found,
        *("--perms", "1777", "--tmpfs", "/tmp", *seen),
        *(*_parents(writable, Path("/tmp")), "--bind", str(writable), str(writable)),
        *(
            "--die-with-parent",
            "--unshare-pid",
            *(("--seccomp", str(seccomp)) if seccomp is not None else ()),
        ),
        *("--", require_program("setpriv"), f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"),
        *argv,
    ]


def _parents(path: Path, below: Path) -> list[str]:
    """Directories between two, for everybody to enter; bubblewrap makes them for its caller alone."""
    between = [one for one in reversed(path.parents) if one != below and one.is_relative_to(below)]
    return [word for one in between for word in ("--perms", "0755", "--dir", str(one))]
