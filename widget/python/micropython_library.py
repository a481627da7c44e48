"""What the lowered modules need of Python's standard library, as MicroPython can have it.

Every name answers as CPython's does for what ``shared_state`` and the bridge ask of it; what they do not ask
is not here, or raises NotImplementedError. ``widget.build.micropython.vocabulary`` says which name stands in
for what, and the build leaves out what nothing reaches. The file is written in the subset that MicroPython
reads, and is not lowered itself. It also runs on CPython, where its tests compare it with the originals; what
asks JavaScript differs there.
"""

import json as _native_json
import math
import re as _native_re
from binascii import hexlify
from collections import OrderedDict as dict
from collections import namedtuple  # noqa: F401 - for lowered modules
from hashlib import sha256 as _sha256

try:
    import js as _js
except ImportError:
    _js = None

_repr = repr
_plain_dict = type({})

MISSING = object()
RecursionError = RuntimeError
UnicodeEncodeError = UnicodeError
UnicodeDecodeError = UnicodeError


# --- dataclasses, enumerations, tuples with names


class _Field:
    def __init__(self, row):
        self.name, self.init, self.compare, self.repr = row


def fields_of(rows):
    """``__dataclass_fields__``, as far as anybody asks."""
    return dict((row[0], _Field(row)) for row in rows)


def fields(value):
    return tuple(value.__dataclass_fields__.values())


def is_same(value, other):
    return value is other


class Data:
    """The base of what was a dataclass."""

    def _compared(self):
        return tuple([getattr(self, of.name) for of in self.__dataclass_fields__.values() if of.compare])

    def __eq__(self, other):
        return self is other or (type(other) is type(self) and equal(self._compared(), other._compared()))

    def __hash__(self):
        return hash(self._compared())

    def __repr__(self):
        shown = [
            of.name + "=" + repr(getattr(self, of.name))
            for of in self.__dataclass_fields__.values()
            if of.repr
        ]
        return type(self).__name__ + "(" + ", ".join(shown) + ")"


class OrderedData(Data):
    """The base of what was a dataclass with ``order=True``."""

    def __lt__(self, other):
        return self._compared() < other._compared()

    def __le__(self, other):
        return self._compared() <= other._compared()

    def __gt__(self, other):
        return self._compared() > other._compared()

    def __ge__(self, other):
        return self._compared() >= other._compared()


def equal(one, other):
    """``one == other``, where dictionaries are equal in any order."""
    if isinstance(one, _plain_dict) and isinstance(other, _plain_dict):
        return len(one) == len(other) and all(key in other and equal(one[key], other[key]) for key in one)
    if type(one) is type(other) and isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(equal(own, its) for own, its in zip(one, other))
    return one == other


def replace(value, **changes):
    """``dataclasses.replace``."""
    given = {}
    for of in value.__dataclass_fields__.values():
        if of.init:
            given[of.name] = changes.pop(of.name) if of.name in changes else getattr(value, of.name)
    given.update(changes)
    return type(value)(**given)


class Member:
    """A member of an enumeration."""

    def __init__(self, name, value):
        self.name = name
        self.value = value

    def __repr__(self):
        return "<%s.%s: %s>" % (type(self).__name__, self.name, repr(self.value))

    def __str__(self):
        return type(self).__name__ + "." + self.name


def enumeration(kind, rows):
    """Put the members on their class."""
    members = []
    for name, value in rows:
        member = kind(name, value)
        setattr(kind, name, member)
        members.append(member)
    kind.all_members = tuple(members)
    return kind


def by_value(kind, value):
    """``Enumeration(value)``."""
    for member in kind.all_members:
        if value_of(member) == value:
            return member
    raise ValueError("%s is not a valid %s" % (repr(value), kind.__name__))


def value_of(member):
    """``member.value``; a member of a StrEnum is its own text."""
    return member if isinstance(member, str) else member.value


def tuple_asdict(value):
    return dict(zip(value._fields, value))


def tuple_replace(value, **changes):
    given = [changes.pop(name) if name in changes else own for name, own in zip(value._fields, value)]
    if changes:
        raise ValueError("Got unexpected field names: " + repr(list(changes)))
    return type(value)(*given)


# What isinstance asks for. An ordered dictionary is a subclass of MicroPython's own.


class MappingMethods:
    """What a class gets that is a ``Mapping``."""

    def get(self, key, default=None):
        return self[key] if key in self else default

    def keys(self):
        return iter(self)

    def values(self):
        return [self[key] for key in self]

    def items(self):
        return [(key, self[key]) for key in self]


Mapping = (_plain_dict, MappingMethods)
Sequence = (list, tuple, str, bytes)


def merged_dict(*parts):
    """A display of a dictionary with ``**``: each part is a dictionary, or pairs."""
    out = dict(parts[0])
    for part in parts[1:]:
        out.update(part)
    return out


def method_fromkeys(keys, value=None):
    return dict([(key, value) for key in keys])


def stepped(value, start, stop, step):
    """``value[start:stop:step]``."""
    size = len(value)
    if step > 0:
        low, high = 0, size
        start = low if start is None else start
        stop = high if stop is None else stop
    else:
        low, high = -1, size - 1
        start = high if start is None else start
        stop = -size - 1 if stop is None else stop
    start, stop = [min(max(low, end + size if end < 0 else end), high) for end in (start, stop)]
    items = [value[at] for at in range(start, stop, step)]
    if isinstance(value, str):
        return "".join(items)
    if isinstance(value, bytes):
        return bytes(items)
    return tuple(items) if isinstance(value, tuple) else items


def zip_strict(*columns):
    rows = [list(column) for column in columns]
    for at in range(1, len(rows)):
        if len(rows[at]) != len(rows[0]):
            raise ValueError("zip() argument %d is of another length than argument 1" % (at + 1))
    return zip(*rows)


def sorted(items, key=None, reverse=False):
    """Stable, and one comparison for each item that comes in order."""
    keys = []
    out = []
    for item in reversed(list(items)) if reverse else items:
        own = item if key is None else key(item)
        if not keys or not own < keys[-1]:
            keys.append(own)
            out.append(item)
            continue
        low, high = 0, len(keys) - 1
        while low < high:
            middle = (low + high) // 2
            if own < keys[middle]:
                high = middle
            else:
                low = middle + 1
        keys.insert(low, own)
        out.insert(low, item)
    if reverse:
        out.reverse()
    return out


def method_sort(items, key=None, reverse=False):
    items[:] = sorted(items, key, reverse)


# --- functools, itertools, operator


def _cached(function, most):
    known = {}

    def cached(*args):
        if args not in known:
            # Forgets everything where the original forgets the oldest: nobody can see which.
            if most is not None and len(known) >= most:
                known.clear()
            known[args] = function(*args)
        return known[args]

    return cached


def cache(function):
    return _cached(function, None)


def lru_cache(maxsize=128):
    if callable(maxsize):
        return _cached(maxsize, 128)
    return lambda function: _cached(function, maxsize)


def partial(function, *first, **named):
    def call(*args, **more):
        given = {}
        given.update(named)
        given.update(more)
        return function(*(first + args), **given)

    return call


def reduce(function, items, *start):
    items = iter(items)
    value = start[0] if start else next(items)
    for item in items:
        value = function(value, item)
    return value


class chain:
    def __init__(self, *parts):
        self._parts = parts

    def __iter__(self):
        for part in self._parts:
            yield from part

    @staticmethod
    def from_iterable(parts):
        for part in parts:
            yield from part


def pairwise(items):
    before = MISSING
    for item in items:
        if before is not MISSING:
            yield before, item
        before = item


def groupby(items, key=None):
    group = []
    last = None
    for item in items:
        own = item if key is None else key(item)
        if group and own != last:
            yield last, iter(group)
            group = []
        group.append(item)
        last = own
    if group:
        yield last, iter(group)


def itemgetter(*keys):
    if len(keys) == 1:
        return lambda value: value[keys[0]]
    return lambda value: tuple([value[key] for key in keys])


def attrgetter(*names):
    def one(value, name):
        for part in name.split("."):
            value = getattr(value, part)
        return value

    if len(names) == 1:
        return lambda value: one(value, names[0])
    return lambda value: tuple([one(value, name) for name in names])


# --- text. What MicroPython knows of ASCII only is asked of JavaScript.


def _utf8(text):
    """The bytes of a text. MicroPython writes a lone surrogate as it is; CPython has to be asked to."""
    try:
        return text.encode()
    except UnicodeError:
        return text.encode("utf-8", "surrogatepass")


def _has_surrogate(data):
    at = data.find(b"\xed")
    while at >= 0:
        if data[at + 1 : at + 2] >= b"\xa0":
            return True
        at = data.find(b"\xed", at + 1)
    return False


def method_isascii(text):
    for code in _utf8(text) if isinstance(text, str) else text:
        if code > 0x7F:
            return False
    return True


def method_lower(text):
    if method_isascii(text):
        return text.lower()
    return _by_character(text, lambda part: _js.String.prototype.toLowerCase.call(part))


def method_upper(text):
    if method_isascii(text):
        return text.upper()
    return _by_character(text, lambda part: _js.String.prototype.toUpperCase.call(part))


def _by_character(text, change):
    """Without NUL, where a text would end, and surrogates, which would change: neither has a case."""
    if "\0" in text:
        return "\0".join([_by_character(part, change) for part in text.split("\0")])
    if not _has_surrogate(_utf8(text)):
        return change(text)
    return "".join([sign if 0xD800 <= ord(sign) < 0xE000 else change(sign) for sign in text])


# Digraphs whose first letter alone is large at the beginning of a word.
_TITLE = {"\u01c4": "\u01c5", "\u01c7": "\u01c8", "\u01ca": "\u01cb", "\u01f1": "\u01f2"}


def method_capitalize(text):
    first = method_upper(text[:1])
    if not method_isascii(first):
        first = _TITLE.get(first, first)
    return first[:1] + method_lower(first[1:] + text[1:])


def _all_of(text, pattern):
    """Whether a text is not empty, and of these characters alone."""
    if text == "" or "\0" in text or _has_surrogate(_utf8(text)):
        return False
    return _js.RegExp.new("^[" + pattern + "]+$", "u").test(text)


def method_isalpha(text):
    return text.isalpha() if method_isascii(text) else _all_of(text, "\\p{L}")


def method_isalnum(text):
    if method_isascii(text):
        return text != "" and all(sign.isalpha() or sign.isdigit() for sign in text)
    return _all_of(text, "\\p{L}\\p{N}")


def method_isdecimal(text):
    return text.isdigit() if method_isascii(text) else _all_of(text, "\\p{Nd}")


# Digits that are no decimals: raised, lowered, in circles.
_DIGITS = (
    "\\p{Nd}"
    "\\u{b2}-\\u{b3}\\u{b9}\\u{1369}-\\u{1371}\\u{19da}\\u{2070}\\u{2074}-\\u{2079}"
    "\\u{2080}-\\u{2089}\\u{2460}-\\u{2468}\\u{2474}-\\u{247c}\\u{2488}-\\u{2490}\\u{24ea}"
    "\\u{24f5}-\\u{24fd}\\u{24ff}\\u{2776}-\\u{277e}\\u{2780}-\\u{2788}\\u{278a}-\\u{2792}"
    "\\u{10a40}-\\u{10a43}\\u{10e60}-\\u{10e68}\\u{11052}-\\u{1105a}\\u{1f100}-\\u{1f10a}"
)


def method_isdigit(text):
    return text.isdigit() if method_isascii(text) else _all_of(text, _DIGITS)


_SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def method_isspace(text):
    return text != "" and all(sign in _SPACES for sign in text)


def method_strip(text):
    return text.strip(_SPACES) if isinstance(text, str) else text.strip()


def method_lstrip(text):
    return text.lstrip(_SPACES) if isinstance(text, str) else text.lstrip()


def method_rstrip(text):
    return text.rstrip(_SPACES) if isinstance(text, str) else text.rstrip()


def method_split(text):
    """``text.split()``: at white space."""
    if method_isascii(text) and not any(sign in text for sign in "\x1c\x1d\x1e\x1f"):
        return text.split()
    return "".join([" " if sign in _SPACES else sign for sign in text]).split()


def method_splitlines(text):
    text = text.replace("\r\n", "\n")
    for end in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        text = text.replace(end, "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def method_removeprefix(text, prefix):
    return text[len(prefix) :] if text.startswith(prefix) else text


def method_removesuffix(text, suffix):
    return text[: len(text) - len(suffix)] if suffix and text.endswith(suffix) else text


def method_ljust(text, width, fill=" "):
    return text + fill * (width - len(text))


def method_rjust(text, width, fill=" "):
    return fill * (width - len(text)) + text


def method_center(text, width, fill=" "):
    missing = max(0, width - len(text))
    before = missing // 2 + (missing & width & 1)
    return fill * before + text + fill * (missing - before)


def method_zfill(text, width):
    sign = text[:1] if text[:1] in ("+", "-") else ""
    return sign + "0" * (width - len(text)) + text[len(sign) :]


def method_maketrans(_, of, to=None, without=""):
    if to is None:
        return dict([(ord(key) if isinstance(key, str) else key, value) for key, value in of.items()])
    table = dict([(ord(own), ord(its)) for own, its in zip(of, to)])
    for sign in without:
        table[ord(sign)] = None
    return table


def method_translate(text, table):
    out = []
    for sign in text:
        code = ord(sign)
        other = table[code] if code in table else sign
        if other is not None:
            out.append(chr(other) if isinstance(other, int) else other)
    return "".join(out)


def method_format_map(pattern, values):
    return pattern.format(**values)


def method_encode(text, encoding="utf-8", errors="strict"):
    if encoding not in ("utf-8", "ascii"):
        raise NotImplementedError("encoding " + encoding)
    data = _utf8(text)
    if encoding == "ascii" and not method_isascii(data):
        raise UnicodeError("ordinal not in range(128)")
    if b"\xed" in data and _has_surrogate(data):
        if errors == "strict":
            raise UnicodeError("surrogates not allowed")
        escaped = ["\\u%04x" % ord(c) if 0xD800 <= ord(c) < 0xE000 else c for c in text]
        return "".join(escaped).encode()
    return data


def method_decode(data, encoding="utf-8"):
    if b"\xed" in data and _has_surrogate(data):
        raise UnicodeError("surrogates not allowed")
    return bytes(data).decode()


def method_isprintable(text):
    if method_isascii(text):
        return all(" " <= sign <= "~" for sign in text)
    if "\0" in text or _has_surrogate(_utf8(text)):
        return False
    return _js.RegExp.new("^[^\\p{C}\\p{Zl}\\p{Zp}\\p{Zs}]*$", "u").test(text.replace(" ", ""))


def ascii(value):
    out = []
    for sign in repr(value):
        out.append(sign if sign < "\x7f" else _escape(ord(sign)))
    return "".join(out)


def _escape(code):
    if code < 0x100:
        return "\\x%02x" % code
    return "\\u%04x" % code if code < 0x10000 else "\\U%08x" % code


_SHOWN = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def _text_repr(text):
    quote = '"' if "'" in text and '"' not in text else "'"
    if method_isprintable(text) and "\\" not in text and quote not in text:
        return quote + text + quote
    out = [quote]
    for sign in text:
        code = ord(sign)
        if sign == quote:
            out.append("\\" + sign)
        elif code in _SHOWN:
            out.append(_SHOWN[code])
        elif method_isprintable(sign):
            out.append(sign)
        else:
            out.append(_escape(code))
    out.append(quote)
    return "".join(out)


def repr(value):
    kind = type(value)
    if kind is str:
        return _text_repr(value)
    if isinstance(value, _plain_dict):
        return "{" + ", ".join([repr(key) + ": " + repr(item) for key, item in value.items()]) + "}"
    if kind is list:
        return "[" + ", ".join([repr(item) for item in value]) + "]"
    if kind is tuple:
        return "(" + ", ".join([repr(item) for item in value]) + (",)" if len(value) == 1 else ")")
    if kind is float and math.isfinite(value):
        return float_text(value)
    return _repr(value)


def text_of(value):
    """``str(value)``."""
    if type(value) is float and math.isfinite(value):
        return float_text(value)
    return repr(value) if type(value) in (list, tuple, dict, _plain_dict) else str(value)


def format_padded(value, fill, align, width, most):
    """``format(value, …)`` of text, and of a number without a type."""
    shown = text_of(value)
    if most is not None:
        shown = shown[:most]
    missing = width - len(shown)
    if missing <= 0:
        return shown
    if not align:
        align = ">" if isinstance(value, (int, float)) else "<"
    before = missing if align == ">" else missing // 2 if align == "^" else 0
    return fill * before + shown + fill * (missing - before)


def format_fixed(value, digits, width):
    """``format(value, f"{width}.{digits}f")``: rounded half to even, as exactly as the number is."""
    if not math.isfinite(value):
        raise NotImplementedError("format of " + _repr(value))
    fraction, power = math.frexp(abs(value))
    number = int(fraction * 9007199254740992) * 10**digits
    power -= 53
    if power >= 0:
        number <<= power
    else:
        whole = number >> -power
        rest = number - (whole << -power)
        half = 1 << (-power - 1)
        number = whole + (1 if rest > half or (rest == half and whole % 2) else 0)
    shown = method_zfill(str(number), digits + 1)
    if digits:
        shown = shown[: len(shown) - digits] + "." + shown[len(shown) - digits :]
    sign = "-" if math.copysign(1, value) < 0 else width[:1] if width[:1] in ("+", " ") else ""
    width = width.lstrip("+- ")
    if width[:1] == "0":
        return sign + "0" * (int(width) - len(sign) - len(shown)) + shown
    return method_rjust(sign + shown, int(width or "0"))


def escape(text, quote=True):
    """``html.escape``."""
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if quote and '"' in text:
        text = text.replace('"', "&quot;")
    if quote and "'" in text:
        text = text.replace("'", "&#x27;")
    return text


# --- re: whole matches, and {m,n}, which MicroPython's does not read


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


# --- hashlib


class sha256:
    def __init__(self, data):
        self._data = data

    def digest(self):
        return _sha256(self._data).digest()

    def hexdigest(self):
        return hexlify(self.digest()).decode()


# --- datetime: a moment in UTC


class timedelta:
    def __init__(self, days=0, seconds=0, *, milliseconds=0, minutes=0, hours=0):
        self._ms = ((days * 24 + hours) * 60 + minutes) * 60000 + seconds * 1000 + milliseconds

    def total_seconds(self):
        return self._ms / 1000

    def __eq__(self, other):
        return self._ms == other._ms

    def __lt__(self, other):
        return self._ms < other._ms

    def __gt__(self, other):
        return self._ms > other._ms


UTC = object()
_FIRST_MS = -62135596800000
_LAST_MS = 253402300799999
_DAY_MS = 86400000


class datetime:
    """A moment in UTC, to the millisecond."""

    def __init__(self, year, month, day, hour=0, minute=0, second=0, *, tzinfo=None):
        if tzinfo is not UTC:
            raise NotImplementedError("a date that is not in UTC")
        # Years that begin on 1 March have their leap day last. 719,468 days lie between 0000-03-01 and 1970,
        # and 146,097 days are 400 years.
        shifted = year - (1 if month <= 2 else 0)
        era, of_era = divmod(shifted, 400)
        of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
        days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
        self._set(((days * 24 + hour) * 60 + minute) * 60000 + second * 1000)

    def _set(self, ms):
        self._ms = ms
        days, rest = divmod(ms, _DAY_MS)
        self._days = days
        self.microsecond = rest % 1000 * 1000
        rest //= 1000
        self.hour, self.minute, self.second = rest // 3600, rest // 60 % 60, rest % 60
        era, day = divmod(days + 719468, 146097)
        year = (day - day // 1460 + day // 36524 - day // 146096) // 365
        day -= 365 * year + year // 4 - year // 100
        month = (5 * day + 2) // 153
        self.day = day - (153 * month + 2) // 5 + 1
        self.month = month + 3 if month < 10 else month - 9
        self.year = year + era * 400 + (1 if self.month <= 2 else 0)

    def __add__(self, delta):
        ms = self._ms + delta._ms
        if not _FIRST_MS <= ms <= _LAST_MS:
            raise OverflowError("date value out of range")
        out = object.__new__(datetime)
        out._set(ms)
        return out

    def __sub__(self, other):
        if isinstance(other, timedelta):
            return self + timedelta(milliseconds=-other._ms)
        return timedelta(milliseconds=self._ms - other._ms)

    def __eq__(self, other):
        return isinstance(other, datetime) and self._ms == other._ms

    def __lt__(self, other):
        return self._ms < other._ms

    def __le__(self, other):
        return self._ms <= other._ms

    def __gt__(self, other):
        return self._ms > other._ms

    def __ge__(self, other):
        return self._ms >= other._ms

    def __hash__(self):
        return hash(self._ms)

    @staticmethod
    def fromisoformat(text):
        """Of the forms ``2026-11-27``, ``2026-11-27T20:45`` and ``2026-11-27T20:45:00``."""
        for zone in ("Z", "+00:00"):
            if text.endswith(zone):
                text = text[: -len(zone)]
        day, _, time = text.replace(" ", "T").partition("T")
        year, month, day = [int(part) for part in day.split("-")]
        clock = [int(part) for part in time.split(":")] if time else []
        return datetime(year, month, day, *clock, tzinfo=UTC)

    def weekday(self):
        return (self._days + 3) % 7

    def strftime(self, pattern):
        out = ""
        parts = pattern.split("%")
        out = parts.pop(0)
        while parts:
            part = parts.pop(0)
            mark = part[:1]
            if mark == "":
                out += "%" + parts.pop(0)
                continue
            if mark == "Y":
                out += str(self.year)
            elif mark in _DIRECTIVES:
                out += "%02d" % getattr(self, _DIRECTIVES[mark])
            else:
                raise NotImplementedError("strftime of %" + mark)
            out += part[1:]
        return out

    def isoformat(self, sep="T", timespec="auto"):
        if timespec != "seconds":
            raise NotImplementedError("isoformat to other than seconds")
        return "%04d" % self.year + self.strftime("-%m-%d" + sep + "%H:%M:%S+00:00")


_DIRECTIVES = {"m": "month", "d": "day", "H": "hour", "M": "minute", "S": "second"}


# --- json: read strictly, and written with an order


def float_text(value):
    """``repr`` of a finite float: JavaScript's digits, which are the shortest, set as Python sets them."""
    if _js is None:
        return _repr(value)
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    return python_digits(_js.String(value))


def python_digits(text):
    """A number that JavaScript wrote, as Python writes it."""
    sign = "-" if text[0] == "-" else ""
    digits, _, power = text[len(sign) :].partition("e")
    whole, _, part = digits.partition(".")
    digits = whole + part
    significant = digits.lstrip("0")
    # Where the point stands, counted from before the first significant digit.
    point = len(whole) + int(power or "0") - (len(digits) - len(significant))
    significant = significant.rstrip("0")
    if -4 < point <= 0:
        return sign + "0." + "0" * -point + significant
    if 0 < point <= 16:
        if len(significant) <= point:
            return sign + significant + "0" * (point - len(significant)) + ".0"
        return sign + significant[:point] + "." + significant[point:]
    tail = "." + significant[1:] if len(significant) > 1 else ""
    exponent = point - 1
    return "%s%s%se%s%02d" % (sign, significant[0], tail, "-" if exponent < 0 else "+", abs(exponent))


def to_float(value):
    """``float(value)``: a text is read by JavaScript, since MicroPython rounds the last digit otherwise.

    JavaScript would hand over a whole number as one of 32 bits, so the number comes as its bytes.
    """
    if _js is None or not isinstance(value, str):
        return float(value)
    import struct

    halves = _js.Int32Array.new(_js.Float64Array.of(value.replace("_", "").strip()).buffer)
    number = struct.unpack("<d", struct.pack("<ii", halves[0], halves[1]))[0]
    return float(value) if number != number else number


# Its patterns end at a NUL, so that one is looked for apart.
_CONTROL = _native_re.compile("[\x01-\x1f]")
_CONTROL_BYTE = _native_re.compile(b"[\x01-\x1f]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x08": "\\b", "\x0c": "\\f"}


def encode_basestring(text):
    """A text as JSON, escaped where it has to be."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    if "\0" in text or _CONTROL.search(text):
        text = "".join([_SHORT.get(sign) or "\\u%04x" % ord(sign) if sign < " " else sign for sign in text])
    return '"' + text + '"'


def _written(value, sort_keys):
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is dict or kind is _plain_dict:
        keys = sorted(value) if sort_keys else value
        pairs = [encode_basestring(key) + ":" + _written(value[key], sort_keys) for key in keys]
        return "{" + ",".join(pairs) + "}"
    if kind is list or isinstance(value, tuple):
        return "[" + ",".join([_written(item, sort_keys) for item in value]) + "]"
    if kind is float:
        if not math.isfinite(value):
            raise ValueError("Out of range float values are not JSON compliant")
        return float_text(value)
    raise TypeError("Object of type %s is not JSON serializable" % kind.__name__)


class JSONEncoder:
    """``json.JSONEncoder`` without white space."""

    def __init__(self, *, ensure_ascii=True, separators=None, allow_nan=True, sort_keys=False):
        if ensure_ascii or allow_nan or separators != (",", ":"):
            raise NotImplementedError("JSON that is written in another way")
        self._sort_keys = sort_keys

    def encode(self, value):
        return _written(value, self._sort_keys)


# Beyond what ``shared_state`` accepts, and far from the end of MicroPython's own stack.
_NESTED_MAX = 60


def check_nesting(text):
    """The reader counts as it reads: see ``JSONDecoder``."""


_ESCAPES = {34: '"', 92: "\\", 47: "/", 98: "\b", 102: "\f", 110: "\n", 114: "\r", 116: "\t"}
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class JSONDecoder:
    """``json.JSONDecoder``: one value, strictly, over UTF-8.

    Bytes are indexed in no time; MicroPython counts a text's characters from its beginning for each index.
    Two NULs stand behind the end: no rule takes one, so no index falls behind them.
    """

    def __init__(self, *, object_pairs_hook, parse_constant, parse_int, parse_float):
        self._pairs_hook = object_pairs_hook
        self._constant = parse_constant
        self._integer = parse_int
        self._real = parse_float

    def decode(self, text):
        data = _utf8(text)
        self._plain = not _CONTROL_BYTE.search(data) and b"\0" not in data
        self._data = data + b"\0\0"
        value, at = self._value(self._space(0), _NESTED_MAX)
        at = self._space(at)
        if at != len(data):
            raise self._refused("Extra data", at)
        self._data = b""
        return value

    def _refused(self, what, at):
        """The error as CPython words it; places are counted in characters."""
        before = self._data[:at]
        characters = 0
        for byte in before:
            if not 0x80 <= byte < 0xC0:
                characters += 1
        lines = before.split(b"\n")
        column = 1
        for byte in lines[-1]:
            if not 0x80 <= byte < 0xC0:
                column += 1
        return ValueError("%s: line %d column %d (char %d)" % (what, len(lines), column, characters))

    def _space(self, at):
        data = self._data
        while data[at] in b" \t\n\r":
            at += 1
        return at

    def _value(self, at, depth):
        """The value that begins at ``at``, and where it ends."""
        data = self._data
        first = data[at]
        if first == 34:
            return self._string(at + 1)
        if first == 123:
            return self._object(at + 1, depth)
        if first == 91:
            return self._array(at + 1, depth)
        if 48 <= first <= 57 or first == 45:
            return self._digits(at)
        if first == 110 and data[at : at + 4] == b"null":
            return None, at + 4
        if first == 116 and data[at : at + 4] == b"true":
            return True, at + 4
        if first == 102 and data[at : at + 5] == b"false":
            return False, at + 5
        if first == 78 and data[at : at + 3] == b"NaN":
            return self._constant("NaN"), at + 3
        if first == 73 and data[at : at + 8] == b"Infinity":
            return self._constant("Infinity"), at + 8
        raise self._refused("Expecting value", at)

    def _text(self, start, end):
        part = self._data[start:end]
        if not self._plain:
            for at in range(len(part)):
                if part[at] < 32:
                    raise self._refused("Invalid control character at", start + at)
        try:
            return part.decode()
        except UnicodeError:  # a lone surrogate, on CPython
            return part.decode("utf-8", "surrogatepass")

    def _string(self, at):
        data = self._data
        begin = at - 1
        parts = []
        while True:
            end = data.find(b'"', at)
            slash = data.find(b"\\", at, end) if end >= 0 else data.find(b"\\", at)
            if end < 0 and slash < 0:
                self._text(at, len(data) - 2)
                raise self._refused("Unterminated string starting at", begin)
            if slash < 0:
                last = self._text(at, end)
                if not parts:
                    return last, end + 1
                parts.append(last)
                return "".join(parts), end + 1
            parts.append(self._text(at, slash))
            code = data[slash + 1]
            at = slash + 2
            if code == 117:
                code, at = self._code_unit(at)
                if 0xD800 <= code < 0xDC00 and data[at : at + 2] == b"\\u":
                    low, after = self._code_unit(at + 2)
                    if 0xDC00 <= low < 0xE000:
                        code, at = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), after
                parts.append(chr(code))
            elif code in _ESCAPES:
                parts.append(_ESCAPES[code])
            elif slash + 1 >= len(data) - 2:
                raise self._refused("Unterminated string starting at", begin)
            else:
                raise self._refused("Invalid \\escape", slash)

    def _code_unit(self, at):
        digits = self._data[at : at + 4]
        for digit in digits:
            if digit not in _HEXADECIMAL:
                raise self._refused("Invalid \\uXXXX escape", at - 1)
        return int(digits.decode(), 16), at + 4

    def _digits(self, start):
        data = self._data
        at = start
        if data[at] == 45:
            at += 1
            if data[at : at + 8] == b"Infinity":
                return self._constant("-Infinity"), at + 8
        if data[at] == 48:
            at += 1
        elif 49 <= data[at] <= 57:
            at = self._past_digits(at)
        else:
            raise self._refused("Expecting value", start)
        real = False
        if data[at] == 46 and 48 <= data[at + 1] <= 57:
            real = True
            at = self._past_digits(at + 1)
        if data[at] in b"eE":
            end = at + 1
            if data[end] in b"+-":
                end += 1
            if 48 <= data[end] <= 57:
                real = True
                at = self._past_digits(end)
        digits = data[start:at].decode()
        return (self._real if real else self._integer)(digits), at

    def _past_digits(self, at):
        data = self._data
        while 48 <= data[at] <= 57:
            at += 1
        return at

    def _object(self, at, depth):
        if depth <= 0:
            raise RuntimeError("maximum recursion depth exceeded")
        data = self._data
        pairs = []
        at = self._space(at)
        if data[at] == 125:
            return self._pairs_hook(pairs), at + 1
        while True:
            if data[at] != 34:
                raise self._refused("Expecting property name enclosed in double quotes", at)
            key, at = self._string(at + 1)
            at = self._space(at)
            if data[at] != 58:
                raise self._refused("Expecting ':' delimiter", at)
            value, at = self._value(self._space(at + 1), depth - 1)
            pairs.append((key, value))
            at = self._space(at)
            if data[at] == 125:
                return self._pairs_hook(pairs), at + 1
            if data[at] != 44:
                raise self._refused("Expecting ',' delimiter", at)
            at = self._space(at + 1)

    def _array(self, at, depth):
        if depth <= 0:
            raise RuntimeError("maximum recursion depth exceeded")
        data = self._data
        items = []
        at = self._space(at)
        if data[at] == 93:
            return items, at + 1
        while True:
            value, at = self._value(at, depth - 1)
            items.append(value)
            at = self._space(at)
            if data[at] == 93:
                return items, at + 1
            if data[at] != 44:
                raise self._refused("Expecting ',' delimiter", at)
            at = self._space(at + 1)


def read_request(text):
    """``json.loads`` of what our own loader wrote; its keys' order is not asked for.

    MicroPython's own reader is the faster one, and makes two signs of an escaped pair of surrogates.
    """
    if "\\ud" in text or "\\uD" in text:
        reader = JSONDecoder(object_pairs_hook=dict, parse_constant=None, parse_int=int, parse_float=to_float)
        return reader.decode(text)
    return _native_json.loads(text)
