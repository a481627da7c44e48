"""Flask on gevent with a queue per client: how most people write SSE in Python first.

Run by gunicorn's gevent worker. A viewer is a greenlet that waits on its own queue; a publish puts the
frame into each of them.
"""

from collections.abc import Iterator

from flask import Flask, Response, request
from gevent.queue import Queue  # type: ignore[import-not-found,import-untyped,unused-ignore]

app = Flask(__name__)
clients: set[Queue] = set()


@app.get("/stream")
def stream() -> Response:
    queue = Queue()
    clients.add(queue)

    def frames() -> Iterator[bytes]:
        try:
            # Something must be sent at once, or the header waits for the first event.
            yield b":\n\n"
            while True:
                yield queue.get()
        finally:
            clients.discard(queue)

    return Response(frames(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


@app.post("/publish")
def publish() -> str:
    frame = request.get_data()
    for queue in list(clients):
        queue.put_nowait(frame)
    return str(len(clients))
