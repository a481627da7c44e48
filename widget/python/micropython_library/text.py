"""Text: what MicroPython knows of ASCII only is asked of JavaScript."""

import math

from widget.python.micropython_library.numbers import float_text
from widget.python.micropython_library.runtime import _js, _plain_dict, _repr, dict

__all__ = [
    "ascii",
    "escape",
    "format_fixed",
    "format_padded",
    "method_capitalize",
    "method_center",
    "method_decode",
    "method_encode",
    "method_format_map",
    "method_isalnum",
    "method_isalpha",
    "method_isascii",
    "method_isdecimal",
    "method_isdigit",
    "method_isprintable",
    "method_isspace",
    "method_ljust",
    "method_lower",
    "method_lstrip",
    "method_maketrans",
    "method_removeprefix",
    "method_removesuffix",
    "method_rjust",
    "method_rstrip",
    "method_split",
    "method_splitlines",
    "method_strip",
    "method_translate",
    "method_upper",
    "method_zfill",
    "repr",
    "text_of",
]


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
