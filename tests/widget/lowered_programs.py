"""Functions in the style of shared_state, which run on CPython as they are and lowered under MicroPython.

Each returns a text, so that the two can be compared. They are what the package's style implies, and not only what it
uses today: a new construct there must not wait for a reader's browser to be found wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum, auto
from functools import cache, lru_cache, partial, reduce
from html import escape
from itertools import chain, groupby, pairwise
from operator import attrgetter, itemgetter
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
)

__all__ = ["handle"]

T = TypeVar("T")
Pair: TypeAlias = tuple[int, str]
Check = Callable[[str, Any], Any]
Side = Literal["home", "away"]

LIMIT: Final = 3
TABLE: Final[Mapping[str, tuple[int, int]]] = {"zeta": (1, 2), "alpha": (3, 4), "mid": (5, 6)}
NESTED: Final = {"b": {"z": 1, "a": [1, {"y": 2, "x": 3}]}, "a": None}
BIG: Final = frozenset({"LIVE", "FT"}) | {"HT"}
TEMPLATE: Final = "{home} {score} {away}"


class Named(Protocol):
    name: str


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    secret: str = field(default="s", compare=False, repr=False)
    kind: ClassVar[str] = "point"

    @property
    def total(self) -> int:
        return self.x + self.y

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)

    @staticmethod
    def unit() -> Point:
        return Point(1, 1)

    def moved(self, *, by: int = 1) -> Point:
        return replace(self, x=self.x + by)


@dataclass(kw_only=True)
class Base:
    name: str = "base"
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log.append(f"made {self.name}")


@dataclass(kw_only=True)
class Derived(Base):
    extra: int
    _cached: str | None = field(default=None, init=False, compare=False, repr=False)


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int = 0


class Score(NamedTuple):
    home: int
    away: int = 0

    def plus(self, n: int) -> Score:
        return Score(self.home + n, self.away)

    def __str__(self) -> str:
        return f"{self.home}–{self.away}"


class Plain(NamedTuple):
    a: int
    b: str


class Colour(Enum):
    RED = "r"
    GREEN = "g"

    def shout(self) -> str:
        return self.name + "!"


class Count(Enum):
    ONE = auto()
    TWO = auto()


class Kind(StrEnum):
    GOAL = "goal"
    CARD = auto()


class Stack(Generic[T]):
    def __init__(self) -> None:
        self._items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self._items.append(item)
        return self

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __getitem__(self, at: int) -> T:
        return self._items[at]


class Layered(Mapping[str, int]):
    def __init__(self, inner: Mapping[str, int]) -> None:
        self._inner = inner

    def __getitem__(self, key: str) -> int:
        return self._inner[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


class Trouble(ValueError):
    code = "trouble"

    def __init__(self, field_: str, value: object) -> None:
        super().__init__(f"{field_}: got {value!r}")
        self.field = field_


def dict_order() -> str:
    made = {"zebra": 1, "apple": 2, **TABLE, "m": 3}
    made |= {"q": 4, "apple": 5}
    made["late"] = 6
    merged = {**made, "first": 0} | {"x": 1}
    del merged["m"]
    doubled = {key: value for key, value in merged.items() if key != "q"}
    return repr(
        [list(merged.items()), list(doubled), list(reversed(list(doubled))), list(dict.fromkeys("hello"))]
    )


def dict_equality() -> str:
    one, other = Point(1, notes=["a"]), Point(1, notes=["a"])
    return repr([one == other, one != other, one == Point(2), {Version(1): "v"}[Version(1, 0)]])


@dataclass
class Holder:
    detail: Mapping[str, Any]


def mapping_equality() -> str:
    one: dict[str, Any] = {"a": 1, "b": {"c": 2, "d": 3}}
    other = {"b": {"d": 3, "c": 2}, "a": 1}
    held = Holder({"x": 1, "y": 2})
    return repr(
        [
            one == other,
            one != other,
            held.detail == {"y": 2, "x": 1},
            held == Holder({"y": 2, "x": 1}),
            {"z": 1} == {"z": 2},
            one != {},
        ]
    )


def keywords() -> str:
    def told(a: int, b: int = 2, *rest: int, c: int, d: int = 4) -> tuple[Any, ...]:
        return (a, b, rest, c, d)

    return repr([told(1, c=3), told(1, 2, 3, 4, c=5, d=6), told(*[1, 2], *(3,), c=7), dict(a=1, z=2, b=3)])


def keywords_by_name() -> str:
    def told(key: str, **values: int) -> str:
        return f"{key} {values[key]} {values.get('z', 9)} {'a' in values} {looked_up(values)}"

    def looked_up(values: Mapping[str, int]) -> int:
        return values["b"]

    return told("a", a=1, b=2)


def positional_only() -> str:
    def told(a: int, /, b: int) -> int:
        return a - b

    return str(told(5, b=2))


def f_strings() -> str:
    name, n, nothing, width = "Ö'x\"", 7, None, 6
    return "|".join(
        [
            f"{n:03d} {n:>5} {n:<5}. {n:^5} {n:+d} {n:x} {n:064x} {1234567:,}",
            f"{name!r} {name!a} {name:>8} {name!s:<8}.",
            f"{nothing} {True} {n!r} {n=} {{braces}} 100% %s",
            f"{n:{width}d} {name:>{width}}",
            f"{'nested ' + f'{n + 1:02}'} {n if n > 3 else 0} {[n, name]!r} {(n,)!r}",
            f"implicit {n} joined",
            f"{Score(2)} {Colour.RED.value} {Point(1)!r}",
        ]
    )


def floats() -> str:
    values = [0.1 + 0.2, 1e22, 1 / 3, 5e-324, 100.0, 1e16, 123456789012345.6, -0.0, 2.5, 1e-5, 0.0001]
    fixed = [f"{value:.2f}" for value in (1 / 3, 2.675, 1e3, -0.005, 0.125, 12345.678)]
    return repr(
        [
            values,
            fixed,
            f"{100 * 37 / 90:.1f}%",
            f"{2.5:.0f} {3.5:.0f} {7:6.1f}|{-7.25:+08.1f}",
            f"{1 / 4}",
            str(0.1),
        ]
    )


def stars() -> str:
    a, b = [1, 2], (3, 4)
    first, *rest = [*a, 5, *b]
    (x, *_), y = (1, 2, 3), "y"
    return repr(
        [
            (*a, 0, *b),
            [*b, *a],
            sorted({*a, *b}),
            first,
            rest,
            x,
            y,
            max(0, *a),
            [*range(3)][::-1],
            (1, 2, 3)[::2],
        ]
    )


def comprehensions() -> str:
    grid = [[r * c for c in range(3)] for r in range(3)]
    kinds = {word[0] for word in ("ab", "ac", "b")}
    total = sum(n for row in grid for n in row if n % 2 == 0)
    found = [y for n in range(4) if (y := n * n) > 1]
    return repr(
        [
            grid,
            sorted(kinds),
            total,
            found,
            any(n > 3 for n in range(5)),
            dict(zip("ab", (1, 2), strict=True)),
        ]
    )


def matching() -> str:
    def kind(value: object) -> str:
        match value:
            case None:
                return "none"
            case True | False:
                return "bool"
            case 0 | 1:
                return "small"
            case int() as n if n < 0:
                return f"negative {n}"
            case int(n):
                return f"int {n}"
            case "a" | "b":
                return "letter"
            case str() as text:
                return text.upper()
            case [] | ():
                return "empty"
            case [only]:
                return f"one {only}"
            case [first, *middle, last]:
                return f"{first}..{last} {middle}"
            case {"op": "add", "n": n}:
                return f"add {n}"
            case {"op": op}:
                return f"op {op}"
            case Point(x=0, y=y):
                return f"on axis {y}"
            case Point(x, y):
                return f"point {x} {y}"
            case Colour.RED:
                return "red"
            case _:
                return "other"

    values: list[object] = [
        None,
        True,
        0,
        -5,
        17,
        "a",
        "word",
        [],
        (),
        [1],
        [1, 2, 3, 4],
        (1, 2),
        {"op": "add", "n": 3, "more": 1},
        {"op": "x"},
        {},
        Point(0, 9),
        Point(3),
        Colour.RED,
        Colour.GREEN,
        2.5,
    ]
    return repr([kind(value) for value in values])


def closures() -> str:
    def adder(n: int) -> Callable[[int], int]:
        count = 0

        def add(m: int) -> int:
            nonlocal count
            count += 1
            return n + m + count

        return add

    one = adder(10)
    double = partial(adder, 3)
    return repr(
        [
            one(1),
            one(1),
            double()(1),
            (lambda x, y=2, *z: (x, y, z))(1, 2, 3),
            [f(2) for f in (lambda v: v * v,)],
        ]
    )


CALLS: list[int] = []


@cache
def slow(n: int) -> int:
    CALLS.append(n)
    return n * n


@lru_cache(maxsize=2)
def slower(n: int, m: int = 1) -> int:
    CALLS.append(n)
    return n + m


def cached() -> str:
    CALLS.clear()
    return repr([slow(3), slow(3), slower(4), slower(4), sorted(set(CALLS))])


def functional() -> str:
    rows = [("b", 2), ("a", 2), ("c", 1)]
    grouped = [(key, [name for name, _ in group]) for key, group in groupby(rows, key=itemgetter(1))]
    points = sorted([Point(3, 1), Point(1, 5)], key=attrgetter("x"))
    return repr(
        [
            sorted(rows, key=itemgetter(1)),
            sorted(rows, key=lambda row: row[1], reverse=True),
            grouped,
            [point.x for point in points],
            list(chain([1], (2, 3))),
            list(chain.from_iterable([[1], [2]])),
            list(pairwise([1, 2, 3])),
            reduce(lambda a, b: a * b, [1, 2, 3], 1),
            min(rows, key=itemgetter(0)),
            list(map(str.upper, ["x"])),
            list(filter(None, ["", "a"])),
            list(enumerate("ab", start=1)),
        ]
    )


def stable_sort() -> str:
    rows = [(n % 3, n) for n in range(40)]
    rows.sort(key=lambda row: row[0])
    backwards = sorted(range(20), key=lambda n: n % 4, reverse=True)
    return repr([rows, backwards, sorted(["b", "A", "ä", "z"]), sorted({"y": 1, "x": 2})])


def dataclasses_() -> str:
    point = Point(1, tags=("t",))
    derived = Derived(extra=5)
    return repr(
        [
            point,
            point.total,
            point.moved(by=4).x,
            Point.origin(),
            Point.unit().total,
            Point.kind,
            derived.log,
            derived,
            Derived(extra=5) == Derived(extra=5),
            Version(1, 2) < Version(1, 3),
            max(Version(2), Version(1, 9)),
        ]
    )


def tuples() -> str:
    score = Score(2)
    home, away = score
    return repr(
        [
            score == (2, 0),
            score + (1,),
            score.plus(2).home,
            home,
            away,
            str(score),
            Plain(1, "b").b,
            {score: 1}[Score(2, 0)],
            Score(1, 2) < Score(2, 0),
            list(score),
            len(score),
            Plain(b="x", a=2) == (2, "x"),
            score._replace(away=7).away,
            tuple(Plain(1, "z")),
            isinstance(score, tuple),
        ]
    )


def enums() -> str:
    colours = [colour.value for colour in Colour]
    return repr(
        [
            colours,
            Colour("g") is Colour.GREEN,
            Colour["RED"].name,
            Colour.RED.shout(),
            Colour.RED == Colour.GREEN,
            len(Colour),
            Colour.RED in Colour,
            [kind.value for kind in Kind],
            f"{Kind.GOAL}",
            Kind.CARD == "card",
            {"goal": 1}[Kind.GOAL],
            Kind("goal") == Kind.GOAL,
            Kind.GOAL.upper(),
            Count.TWO.value,
            repr(Colour.RED),
            str(Colour.GREEN),
            Kind.GOAL.name,
        ]
    )


def classes() -> str:
    stack = Stack[int]().push(1).push(2)
    layered = Layered({"b": 1, "a": 2})
    return repr(
        [
            len(stack),
            list(stack),
            2 in stack,
            stack[-1],
            bool(Stack()),
            layered.get("a"),
            layered.get("z", 9),
            "b" in layered,
            len(layered),
            isinstance(layered, Mapping),
            isinstance({}, Mapping),
            isinstance([], Mapping),
        ]
    )


def exceptions() -> str:
    out: list[str] = []
    try:
        raise Trouble("minute", "x'y")
    except (KeyError, ValueError) as error:
        out.append(f"{type(error).__name__} {error} {isinstance(error, Trouble)}")
    else:
        out.append("no")
    finally:
        out.append("finally")
    try:
        try:
            {}["missing"]
        except KeyError as error:
            raise Trouble("key", 1) from error
    except Trouble as error:
        out.append(error.field + error.code)
    try:
        Colour("nothing")
    except ValueError as error:
        out.append(str(error))
    return repr(out)


def generators() -> str:
    def count(limit: int) -> Iterator[int]:
        at = 0
        while True:
            if at >= limit:
                return
            yield at
            at += 1

    def both() -> Iterator[int]:
        yield from count(2)
        yield 9

    def flat(rows: Iterable[Sequence[int]]) -> Iterator[int]:
        for row in rows:
            for item in row:
                if item < 0:
                    break
                yield item
            else:
                yield 100

    return repr([list(both()), next(iter(count(3)), None), list(flat([[1, -1, 2], [3]])), sum(count(5))])


def texts() -> str:
    words = "  Ünïcode\u00a0text\u2003here  "
    return repr(
        [
            words.strip(),
            words.split(),
            words.lower(),
            words.upper(),
            "straße".upper(),
            "ΣΑΣ".lower(),
            "éa b".capitalize(),
            "ǆx".capitalize(),
            "abc".removeprefix("a"),
            "abc".removesuffix("bc"),
            "7".zfill(3),
            "-7".zfill(4),
            "a".ljust(3, "."),
            "a".rjust(3),
            "x".center(5, "*"),
            "é1".isalnum(),
            "é ".isalnum(),
            "é".isalpha(),
            "\u0663".isdecimal(),
            "".isalnum(),
            "a_b".isalnum(),
            "abc".isascii(),
            "é".isascii(),
            "\u00a0".isspace(),
            "é²".isdigit(),
            "²٣".isdigit(),
            "É\0ß".lower(),
            "é\0".isprintable(),
            "É\0".isalpha(),
            "a\nb\r\nc".splitlines(),
            ["a", "b,c"],
            ["a,b", "c"],
            "x=1".partition("="),
            "ab".startswith(("x", "a")),
            "abc"[::-1],
            "abcdef"[1:5:2],
            "12".translate(str.maketrans("12", "٣٤")),
            TEMPLATE.format(home="A", score=1, away="B"),
            "%s and %d" % ("a", 5),
            "abc".find("c"),
            "a-b".replace("-", ""),
            "tab\there\x00\x7f\xa0\u200b\U0001f600",
            "it's",
            'say "it\'s"',
            "\\",
            escape('<a href="x">\'&'),
        ]
    )


def numbers() -> str:
    return repr(
        [
            7 // 2,
            -7 // 2,
            -7 % 3,
            divmod(-7, 2),
            2**100,
            (2**256 - 1) % 997,
            int("ff", 16),
            abs(-3),
            round(2.5),
            round(3.5),
            isinstance(True, int),
            isinstance(1, bool),
            True + True,
            10_000,
            0xFF,
            5 & 3,
            5 | 3,
            5 ^ 1,
            1 << 40,
            ~5,
            int.from_bytes(b"\x01\x00", "big"),
            math.floor(-1.5),
            math.ceil(1.2),
            math.isfinite(math.inf),
            min(3, 1),
            3 < 4 <= 4,
        ]
    )


def dates() -> str:
    start = datetime(1970, 1, 1, tzinfo=UTC)
    moments = [
        start + timedelta(milliseconds=ms)
        for ms in (0, 951_782_400_000, 1_531_666_800_123, -1, 253_402_300_799_999)
    ]
    fixed = datetime(2026, 11, 27, 9, 5, tzinfo=UTC)
    return repr(
        [
            [f"{when:%Y-%m-%d %H:%M:%S}" for when in moments],
            [when.isoformat(timespec="seconds") for when in moments],
            [when.weekday() for when in moments],
            f"{fixed.day} {fixed.month} {fixed:%H:%M}",
            (fixed - start).total_seconds(),
            fixed > start,
            (fixed + timedelta(days=40)).strftime("%d.%m.%Y"),
        ]
    )


def patterns() -> str:
    one, two = re.compile(r"(0|[1-9][0-9]{0,3})-([a-z]+)"), re.compile(r"[A-Za-z0-9_-]{1,8}")
    found = one.fullmatch("120-abc")
    assert found is not None
    return repr(
        [
            found[1],
            found.group(2),
            found.groups(),
            one.fullmatch("0120-abc"),
            two.fullmatch("abc\n"),
            bool(two.fullmatch("a_9-")),
            two.fullmatch("123456789"),
            bool(two.match("abc def")),
            bool(re.compile("b|c").search("abc")),
            re.fullmatch("a|ab", "ab") is not None,
        ]
    )


def casts() -> str:
    value = cast("int", 5)
    kinds: list[type] = [int, str]
    local: Pair = (1, "x")
    unset: int
    if value > 3:
        unset = 1
    return repr(
        [
            value,
            [kind.__name__ for kind in kinds],
            local,
            unset,
            value if not isinstance(value, str | bytes) else 0,
        ]
    )


def slices() -> str:
    items = list(range(8))
    items[2:4] = [20, 30, 40]
    del items[0]
    items.insert(1, -1)
    copy = items.copy()
    copy.reverse()
    return repr(
        [items, items[-3:], items[::3], copy[1:-1], items.index(20), items.count(5), bytes([65, 66])[::-1]]
    )


def json_texts() -> str:
    write = json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    ).encode
    return write({"b": [1, 2.5, None, True, 'é\n"\\\x01'], "a": {"z": 1, "y": (1, 2)}, "c": -0.0})


_CASES: Final[Mapping[str, Callable[[], str]]] = {
    "dict_order": dict_order,
    "dict_equality": dict_equality,
    "mapping_equality": mapping_equality,
    "keywords": keywords,
    "positional_only": positional_only,
    "keywords_by_name": keywords_by_name,
    "f_strings": f_strings,
    "floats": floats,
    "stars": stars,
    "comprehensions": comprehensions,
    "matching": matching,
    "closures": closures,
    "cached": cached,
    "functional": functional,
    "stable_sort": stable_sort,
    "dataclasses": dataclasses_,
    "tuples": tuples,
    "enums": enums,
    "classes": classes,
    "exceptions": exceptions,
    "generators": generators,
    "texts": texts,
    "numbers": numbers,
    "dates": dates,
    "patterns": patterns,
    "casts": casts,
    "slices": slices,
    "json_texts": json_texts,
}


def handle(name: str) -> str:
    """The answer of one case; "" for the names of all."""
    return " ".join(_CASES) if not name else _CASES[name]()
