"""Dictionaries in their order, sorting that is stable, and slices."""

from widget.python.micropython_library.runtime import _plain_dict, dict

__all__ = [
    "Mapping",
    "MappingMethods",
    "Sequence",
    "merged_dict",
    "method_fromkeys",
    "method_sort",
    "sorted",
    "stepped",
    "zip_strict",
]


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
