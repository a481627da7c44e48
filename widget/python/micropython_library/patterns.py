"""Regular expressions with whole matches and {m,n}, which MicroPython's have not; and SHA-256."""

import re as _native_re
from binascii import hexlify
from hashlib import sha256 as _sha256

__all__ = [
    "Pattern",
    "re_fullmatch",
    "re_match",
    "re_search",
    "sha256",
]


class _Found:
    def __init__(self, found):
        self._found = found

    def __getitem__(self, group):
        return self._found.group(group)

    def group(self, group=0):
        return self._found.group(group)

    def groups(self):
        found = []
        try:
            while True:
                found.append(self._found.group(len(found) + 1))
        except IndexError:
            return tuple(found)


class Pattern:
    def __init__(self, pattern):
        self.pattern = pattern
        spelt = _spelt_out(pattern)
        self._any = _native_re.compile(spelt)
        whole = b"^(?:" + spelt + b")$" if isinstance(spelt, bytes) else "^(?:" + spelt + ")$"
        self._whole = _native_re.compile(whole)

    def fullmatch(self, text):
        found = self._whole.match(text)
        # CPython's ``$`` also matches before the end of a last line.
        return None if found is None or len(found.group(0)) != len(text) else _Found(found)

    def match(self, text):
        found = self._any.match(text)
        return None if found is None else _Found(found)

    def search(self, text):
        found = self._any.search(text)
        return None if found is None else _Found(found)


def _spelt_out(pattern):
    """The pattern with ``x{m,n}`` as so many times ``x`` and ``x?``."""
    if isinstance(pattern, bytes):
        return _spelt_out(pattern.decode()).encode()
    out = ""
    at = 0
    while at < len(pattern):
        if pattern[at] == "[":
            end = pattern.index("]", at + 2) + 1
        elif pattern[at] == "\\":
            end = at + 2
        else:
            end = at + 1
        atom = pattern[at:end]
        if pattern[end : end + 1] == "{":
            close = pattern.index("}", end)
            least, comma, most = pattern[end + 1 : close].partition(",")
            if comma and not most:
                atom = atom * int(least) + atom + "*"
            else:
                atom = atom * int(least or "0") + (atom + "?") * (int(most or least) - int(least or "0"))
            end = close + 1
        out += atom
        at = end
    return out


def re_match(pattern, text):
    return Pattern(pattern).match(text)


def re_fullmatch(pattern, text):
    return Pattern(pattern).fullmatch(text)


def re_search(pattern, text):
    return Pattern(pattern).search(text)


class sha256:
    def __init__(self, data):
        self._data = data

    def digest(self):
        return _sha256(self._data).digest()

    def hexdigest(self):
        return hexlify(self.digest()).decode()
