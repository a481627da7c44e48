"""What lowered Python may use: names that answer the same under MicroPython, and names that have a stand-in.

Measured with MicroPython 1.29.0 by ``tests/widget/test_micropython_library.py`` and the corpus. A name that
is in neither list is refused when the image is built, because under MicroPython it would fail only once it is
reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "BUILTINS",
    "BUILTIN_STAND_INS",
    "DATACLASS_FUNCTIONS",
    "DUNDER_ATTRIBUTES",
    "DUNDER_METHODS",
    "ERASED_BASES",
    "ERASED_DECORATORS",
    "ERASED_MODULES",
    "FUNCTION_STAND_INS",
    "LIBRARY",
    "MEMBERS",
    "METHODS",
    "METHOD_STAND_INS",
    "MODULE_STAND_INS",
    "NATIVE_MODULES",
]

# The module that has the stand-ins.
LIBRARY: Final = "widget.python.micropython_library"

# Their names are read by a type checker, or by a rule of the lowering.
ERASED_MODULES: Final = frozenset({"__future__", "typing", "dataclasses", "enum", "abc", "collections.abc"})
ERASED_BASES: Final = frozenset({"Generic", "Protocol", "ABC"})
ERASED_DECORATORS: Final = frozenset({"abstractmethod", "final", "override", "runtime_checkable"})
# Of the erased modules; they have a stand-in where they are called.
DATACLASS_FUNCTIONS: Final = frozenset({"replace", "fields"})

# ``from module import name``: the name in the library.
FUNCTION_STAND_INS: Final[Mapping[str, Mapping[str, str]]] = {
    "html": {"escape": "escape"},
    "datetime": {"UTC": "UTC", "datetime": "datetime", "timedelta": "timedelta"},
    "functools": {"cache": "cache", "lru_cache": "lru_cache", "partial": "partial", "reduce": "reduce"},
    "itertools": {"chain": "chain", "groupby": "groupby", "pairwise": "pairwise"},
    "operator": {"attrgetter": "attrgetter", "itemgetter": "itemgetter"},
    "collections": {"namedtuple": "namedtuple"},
    "hashlib": {"sha256": "sha256"},
}
# ``import module``: what may be reached through it.
MODULE_STAND_INS: Final[Mapping[str, Mapping[str, str]]] = {
    "json": {
        "JSONDecoder": "JSONDecoder",
        "JSONEncoder": "JSONEncoder",
        "encoder.encode_basestring": "encode_basestring",
        "loads": "read_request",
    },
    "re": {"compile": "Pattern", "match": "re_match", "fullmatch": "re_fullmatch", "search": "re_search"},
    "hashlib": {"sha256": "sha256"},
    "html": {"escape": "escape"},
}
NATIVE_MODULES: Final[Mapping[str, frozenset[str]]] = {
    "math": frozenset(
        {"ceil", "copysign", "floor", "inf", "isfinite", "isinf", "isnan", "pi", "sqrt", "trunc"}
    ),
}

_EXCEPTIONS: Final = frozenset((
    "ArithmeticError", "AssertionError", "AttributeError", "BaseException", "Exception", "IndexError",
    "KeyError", "LookupError", "NotImplementedError", "OverflowError", "RuntimeError", "StopIteration",
    "TypeError", "UnicodeError", "ValueError", "ZeroDivisionError",
))  # fmt: skip
BUILTINS: Final = _EXCEPTIONS | frozenset((
    "abs", "all", "any", "bool", "bytes", "callable", "chr", "classmethod", "divmod", "enumerate",
    "filter", "float", "frozenset", "getattr", "hasattr", "int", "isinstance", "issubclass", "iter", "len",
    "list", "map", "max", "min", "next", "object", "ord", "pow", "property", "range", "reversed", "round",
    "set", "setattr", "staticmethod", "str", "sum", "super", "tuple", "type", "zip",
))  # fmt: skip
# ``dict`` keeps no order there, ``sorted`` is not stable, and the rest is absent or spells otherwise.
BUILTIN_STAND_INS: Final = frozenset(
    {"RecursionError", "UnicodeEncodeError", "UnicodeDecodeError", "ascii", "dict", "repr", "sorted"}
)

# Called on a value of any type; they answer the same on each that has them.
METHODS: Final = frozenset((
    "add", "append", "clear", "close", "copy", "count", "difference", "digest", "discard", "endswith",
    "extend", "find", "format", "from_bytes", "from_iterable", "fromisoformat", "fullmatch", "get",
    "group", "groups", "hex", "hexdigest", "index", "insert", "intersection", "isdisjoint", "isoformat",
    "issubset", "issuperset", "items", "join", "keys", "lstrip", "match", "partition", "pop", "popitem",
    "remove", "replace", "reverse", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "search", "send",
    "setdefault", "split", "startswith", "strftime", "strip", "total_seconds", "union", "update", "values",
    "weekday",
))  # fmt: skip
# ``value.name(…)`` becomes ``method_name(value, …)``: they are absent, or know ASCII only.
METHOD_STAND_INS: Final = frozenset((
    "capitalize", "center", "decode", "encode", "format_map", "fromkeys", "isalnum", "isalpha",
    "isascii", "isdecimal", "isdigit", "isprintable", "isspace", "ljust", "lower", "maketrans",
    "removeprefix", "removesuffix", "rjust", "sort", "splitlines", "translate", "upper", "zfill",
))  # fmt: skip
# Attributes that no own class defines, and that are read without a call.
MEMBERS: Final = frozenset((
    "args", "day", "default", "hour", "init", "minute", "month", "name", "pattern", "second", "value",
    "year",
))  # fmt: skip

DUNDER_ATTRIBUTES: Final = frozenset(
    {"__name__", "__class__", "__init__", "__new__", "__setattr__", "__dataclass_fields__"}
)
DUNDER_METHODS: Final = frozenset((
    "__abs__", "__add__", "__and__", "__bool__", "__call__", "__contains__", "__delitem__", "__enter__",
    "__eq__", "__exit__", "__floordiv__", "__ge__", "__getitem__", "__gt__", "__hash__", "__init__",
    "__iter__", "__le__", "__len__", "__lt__", "__mod__", "__mul__", "__ne__", "__neg__", "__next__",
    "__or__", "__post_init__", "__radd__", "__repr__", "__rmul__", "__rsub__", "__setitem__", "__str__",
    "__sub__",
))  # fmt: skip
