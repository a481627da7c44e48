"""Moments in UTC, to the millisecond."""

__all__ = [
    "UTC",
    "datetime",
    "timedelta",
]


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
