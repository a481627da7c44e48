"""Floats: their digits are JavaScript's, which are the shortest, as CPython's are."""

import math

from widget.python.micropython_library.runtime import _js, _repr

__all__ = [
    "float_text",
    "python_digits",
    "to_float",
]


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
