"""What the other files find in the runtime that they are on."""

from collections import OrderedDict as dict
from collections import namedtuple

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
