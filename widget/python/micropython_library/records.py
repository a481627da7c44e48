"""Dataclasses, enumerations and tuples with names."""

from widget.python.micropython_library.runtime import _plain_dict, dict
from widget.python.micropython_library.text import repr

__all__ = [
    "Data",
    "Member",
    "OrderedData",
    "by_value",
    "enumeration",
    "equal",
    "fields",
    "fields_of",
    "is_same",
    "replace",
    "tuple_asdict",
    "tuple_replace",
    "value_of",
]


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
