"""Streams, WebSockets and held long-polls: whether a proxy holds them back, keeps them or cuts them."""

from __future__ import annotations

import json
import time
from typing import Final

from origin.doctor.answers import FOREIGN_ORIGIN, Site
from origin.doctor.probe import Answer, NotAnswered, Probe, new_key
from origin.doctor.report import Report
from shared_state.errors import shown
from shared_state.jsontext import JsonObject

__all__ = ["Frame", "examine_long_poll", "examine_stream", "examine_websocket", "read_frames"]

#: A stream begins at once; a proxy that needs longer holds it back, seconds.
FIRST_FRAME_S: Final = 5.0
#: A held long-poll lasts two slices of time, and a cache in front waits 25 s for it.
LONG_POLL_S: Final = 25.0
#: Answers that are followed until one is held.
LONG_POLL_STEPS: Final = 6
STREAM_MAX_BYTES: Final = 2_097_152
UNBUFFERED: Final = (
    "nginx: location ~ ^/(stream\\z|stream/|ws/) { proxy_buffering off; proxy_cache off; gzip off;"
    " proxy_read_timeout 60s; … } and no"
    ' proxy_ignore_headers X-Accel-Buffering;   Varnish: if (req.url ~ "^/stream([?/]|$)") { unset'
    " req.http.Accept-Encoding;"
    " return (pass); }"
)


class Frame:
    """A frame of an event stream.

    Attributes:
        event: its name.
        content: its data as JSON; empty if it is none.
        at_s: when it was complete, monotonic seconds.
    """

    __slots__ = ("at_s", "content", "event")

    def __init__(self, event: str, content: JsonObject, at_s: float) -> None:
        self.event = event
        self.content = content
        self.at_s = at_s


def read_frames(answer: Answer) -> list[Frame]:
    """The frames of a stream that are complete, each with the time of the piece that completed it."""
    frames: list[Frame] = []
    rest = b""
    for piece in answer.pieces:
        rest += piece.data
        *blocks, rest = rest.replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            event, data = "", []
            for line in block.decode("utf-8", "replace").split("\n"):
                name, _, value = line.partition(":")
                if name == "event":
                    event = value.strip()
                elif name == "data":
                    data.append(value.removeprefix(" "))
            try:
                content = json.loads("\n".join(data)) if data else {}
            except (ValueError, RecursionError):
                content = {}
            if event:
                frames.append(Frame(event, content if isinstance(content, dict) else {}, piece.at_s))
    return frames


def examine_stream(probe: Probe, site: Site, report: Report) -> None:
    """Open the stream of a match, listen to it, and meanwhile open it a second time."""
    url = f"{site.base}/stream/{site.match_id}"
    first = _open(probe, url, report, listen_s=site.listen_s)
    if first is None:
        return
    frames = read_frames(first)
    beats = [frame for frame in frames if frame.event == "heartbeat"]
    site.heads += [
        (frame.at_s, frame.content["epoch"], frame.content["seq"])
        for frame in beats
        if isinstance(frame.content.get("epoch"), int) and isinstance(frame.content.get("seq"), int)
    ]
    if not _judge_opening(first, frames, report, site.listen_s):
        return
    if first.cut or (first.ended and not any(frame.event == "end" for frame in frames)):
        lasted_s = first.over_s - first.head_s
        report.error(
            "stream_cut", url, f"the stream was closed after {lasted_s:.0f} s, and the match goes on",
            "nginx: proxy_read_timeout 60s;   Varnish: -p timeout_idle and between_bytes_timeout above 60"
            " s; load balancer: an idle"
            " timeout above 60 s",
        )  # fmt: skip
    second = _open(probe, url, report, listen_s=min(site.listen_s, FIRST_FRAME_S), stop_at_heartbeat=True)
    if second is not None:
        _judge_second(first, second, report)


def examine_websocket(probe: Probe, site: Site, report: Report) -> None:
    """Whether a WebSocket comes through."""
    url = f"{site.base}/ws/match/{site.match_id}"
    headers = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": new_key(),
        "Origin": FOREIGN_ORIGIN,
    }
    try:
        answer = probe.get(url, headers)
        seen = f"the answer is {answer.status} and not 101" if answer.status != 101 else ""
    except NotAnswered as error:
        seen = f"no answer: {error}"
    if seen:
        report.warning(
            "websocket", url, f"a WebSocket does not come through: {seen}",
            "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header"
            " Connection \"upgrade\";"
            "   Varnish: return (pipe) for Upgrade: websocket. Only clients other than the widget need it",
        )  # fmt: skip


def examine_long_poll(probe: Probe, site: Site, report: Report) -> None:
    """Ask for a long-poll that is held until its slice of time ends."""
    try:
        score = json.loads(probe.get(f"{site.base}/score?matchId={site.match_id}").body())
        id_ = score["id"]
    except (NotAnswered, ValueError, KeyError, TypeError):
        report.skip("long-polls: the score has no id")
        return
    slice_, within_s = 0, LONG_POLL_S + probe.timeout_s
    for _ in range(LONG_POLL_STEPS):
        url = f"{site.base}/api/match/{site.match_id}/deltas/{id_}/{slice_}"
        asked_s = time.monotonic()
        try:
            answer = probe.get(url, {"Origin": FOREIGN_ORIGIN}, head_within_s=within_s)
        except NotAnswered as error:
            held_s = time.monotonic() - asked_s
            report.error(
                "long_poll_cut", url, f"a held long-poll got no answer after {held_s:.0f} s: {error}", _LONGER
            )
            return
        held_s = time.monotonic() - asked_s
        if answer.status in (502, 504) or (answer.status == 503 and held_s > 1.0) or answer.cut:
            report.error(
                "long_poll_cut",
                url,
                f"a held long-poll was ended by {answer.status} after {held_s:.0f} s",
                _LONGER,
            )
            return
        if answer.status == 404 and slice_ == 0:
            report.error(
                "long_poll_lost", url, "the address of a long-poll is 404",
                "route /api/match/<id>/deltas/… to the stream workers, as deploy/nginx/long-poll-stock.conf"
                " does",
            )  # fmt: skip
            return
        content = _object(answer)
        following = content.get("next")
        if answer.status != 200 or not isinstance(following, dict) or content.get("ended") or held_s > 0.5:
            return
        # A made-up answer cannot make us ask for anything else than the next address of this match.
        id_, slice_ = str(following.get("id", id_))[:40], following.get("slice", 0)
        if not isinstance(slice_, int) or not str(id_).replace("-", "").isdigit():
            return


_LONGER: Final = (
    "nginx: proxy_read_timeout 25s; (two slices and 5 s) for /api/match/…/deltas/…;   Varnish:"
    " .first_byte_timeout = 30s;   load"
    " balancer: the same"
)


def _open(
    probe: Probe, url: str, report: Report, *, listen_s: float, stop_at_heartbeat: bool = False
) -> Answer | None:
    def heard(answer: Answer) -> bool:
        return any(frame.event == "heartbeat" for frame in read_frames(answer))

    try:
        answer = probe.get(
            url,
            {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Origin": FOREIGN_ORIGIN},
            head_within_s=max(FIRST_FRAME_S, min(listen_s, probe.timeout_s)),
            read_for_s=listen_s,
            until=heard if stop_at_heartbeat else None,
            body_max_bytes=STREAM_MAX_BYTES,
        )
    except NotAnswered as error:
        report.error(
            "stream_buffered", url, f"the stream does not begin: {error}", UNBUFFERED,
        )  # fmt: skip
        return None
    if answer.status in (301, 302, 303, 307, 308):
        report.error(
            "redirected", url, f"the stream is redirected to {shown(answer.get('location'))}",
            "give pages and embeds the final address (TOUCHLINE_PUBLIC_URL), and redirect no path but http"
            " to https",
        )  # fmt: skip
        return None
    if answer.status == 501:
        report.error(
            "no_stream_tier",
            url,
            "this server has no stream tier",
            "run it by touchline serve, not by another WSGI server",
        )
        return None
    if answer.status != 200:
        report.error(
            "stream_refused", url, f"the stream is answered by {answer.status}: {shown(answer.text()[:80])}",
            "compare with --origin; route /stream, /stream/ and /ws/ to the stream workers",
        )  # fmt: skip
        return None
    _judge_head(answer, report)
    return answer


def _judge_head(answer: Answer, report: Report) -> None:
    url = answer.url
    if answer.media_type != "text/event-stream":
        report.error(
            "stream_media_type", url, f"Content-Type is {shown(answer.get('content-type'))} and not"
            " text/event-stream: browsers end the stream",
            "let the origin's own type through; route /stream to the stream workers",
        )  # fmt: skip
    if answer.coding:
        report.error(
            "stream_compressed", url, f"a proxy compresses the stream ({answer.coding}), which holds back"
            " what it has not filled a block with",
            "nginx: gzip off; for /stream, and no text/event-stream in gzip_types;   CDN: no compression of"
            " text/event-stream",
        )  # fmt: skip
    # Varnish puts Age: 0 on what it only passes on.
    if answer.get("age") not in ("", "0") or answer.get("x-cache").upper().startswith("HIT"):
        report.error("stream_cached", url, "the stream comes out of a cache (Age or X-Cache)", UNBUFFERED)
    policy = answer.get("cache-control").lower()
    lacking = [name for name in ("no-store", "no-transform") if name not in policy]
    if lacking:
        report.error(
            "stream_headers", url, f"Cache-Control of the stream is {shown(policy)}, without"
            f" {' and '.join(lacking)}: the next proxy may keep or"
            " compress it",
            "remove add_header Cache-Control, expires and the like for /stream; the origin sends both",
        )  # fmt: skip
    if answer.all("access-control-allow-origin") != ["*"]:
        report.error(
            "stream_cors", url, "Access-Control-Allow-Origin of the stream is not one *: widgets on other"
            " sites cannot read it",
            "let the origin's own header through, once",
        )  # fmt: skip
    if answer.all("content-length"):
        report.error(
            "stream_buffered",
            url,
            "the stream has a Content-Length: a proxy has waited for its end",
            UNBUFFERED,
        )


def _judge_opening(answer: Answer, frames: list[Frame], report: Report, listen_s: float) -> bool:
    """Whether the opening came at once and whole: a first frame, and the heartbeat that ends the opening."""
    url = answer.url
    if any(frame.event == "end" for frame in frames):
        report.skip("how the stream goes on: this match is over, name a running one by --match")
        return False
    if answer.media_type != "text/event-stream" or answer.coding:
        return False  # said already; frames cannot be read
    waited_s = min(listen_s, FIRST_FRAME_S)
    beats = [frame for frame in frames if frame.event == "heartbeat"]
    if not answer.pieces:
        seen = f"the head of the stream came, and nothing of its body within {listen_s:g} s"
    elif not beats:
        seen = f"the stream began, and its first heartbeat did not come within {listen_s:g} s: something"
        " holds back the last piece"
    elif beats[0].at_s - answer.asked_s > waited_s:
        seen = f"the first frames came {beats[0].at_s - answer.asked_s:.0f} s after the request"
    else:
        return True
    report.error("stream_buffered", url, seen, UNBUFFERED)
    return False


def _judge_second(first: Answer, second: Answer, report: Report) -> None:
    """Two streams that begin with the same moment of the server are one stream, out of a cache."""
    one, other = (
        [frame.content.get("server_ms") for frame in read_frames(answer) if frame.event == "heartbeat"]
        for answer in (first, second)
    )
    if (
        other
        and one
        and other[0] is not None
        and other[0] <= max(value for value in one if isinstance(value, int))
    ):
        report.error(
            "stream_cached", second.url,
            "a second stream, opened after the first one was over, begins with the same moment of the"
            " server: a cache gives one viewer's"
            " stream to others",
            UNBUFFERED,
        )  # fmt: skip
    elif not other:
        report.error(
            "stream_buffered", second.url, f"a second stream did not begin within {FIRST_FRAME_S:g} s: a"
            " cache makes it wait for the first",
            UNBUFFERED,
        )  # fmt: skip


def _object(answer: Answer) -> JsonObject:
    try:
        content = json.loads(answer.body())
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
