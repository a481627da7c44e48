"""functools, itertools and operator."""

from widget.python.micropython_library.runtime import MISSING

__all__ = [
    "attrgetter",
    "cache",
    "chain",
    "groupby",
    "itemgetter",
    "lru_cache",
    "pairwise",
    "partial",
    "reduce",
]


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
