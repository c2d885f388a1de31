"""A local HTTP server that behaves badly, each way under a path of its own."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler", int, int], None]


class Handler(BaseHTTPRequestHandler):
    """``/WAY/anything``; the way says what is done with the file."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = re.sub(r"^https?://[^/]+", "", self.path)  # a proxy is asked for whole addresses
        way = path.split("/")[1]
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.visits[way] += 1
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.close_connection = True
        WAYS[way](self, int(found[1]) if found else 0, self.server.visits[way])

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def give(self, start: int, stop: int | None = None, **headers: object) -> None:
        """The bytes from ``start``, of which only those before ``stop`` are really sent."""
        data = self.server.data
        if start:
            headers = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **headers}
        self.head(206 if start else 200, **{"Content_Length": len(data) - start, **headers})
        self.wfile.write(data[start:stop])

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.visits, self.asked = data, Counter[str](), list[tuple[str, str | None]]()
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, way: str, name: str = "model.safetensors") -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}/{name}"

    def handle_error(self, *args: Any) -> None:
        """A client that hangs up is no news."""

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


def ok(do: Handler, start: int, visit: int) -> None:
    do.give(start)


def slow_head(do: Handler, start: int, visit: int) -> None:
    """A head that goes on byte by byte, each soon enough."""
    do.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not do.server.closing.wait(0.02):
        do.wfile.write(b"x")


def babble(do: Handler, start: int, visit: int) -> None:
    """No HTTP at all, in several lines."""
    do.wfile.write(b"a\rb\x0bc \x1b[2J\r\n")


def norange(do: Handler, start: int, visit: int) -> None:
    """Ignores ranges; breaks off the first time."""
    do.give(0, len(do.server.data) // 2 if visit == 1 else None)


def refuse(do: Handler, start: int, visit: int) -> None:
    """Refuses ranges; breaks off the first time."""
    if start:
        do.head(416, Content_Length=0)
    else:
        do.give(0, len(do.server.data) // 2 if visit == 1 else None)


def truncate(do: Handler, start: int, visit: int) -> None:
    """Promises everything, sends a part each time."""
    do.give(start, start + len(do.server.data) // 4)


def truncate_always(do: Handler, start: int, visit: int) -> None:
    """Never sends a byte of what it promises."""
    do.give(start, start)


def stall(do: Handler, start: int, visit: int) -> None:
    """Falls silent in the middle, once."""
    do.give(start, len(do.server.data) // 2 if visit == 1 else None)
    if visit == 1:
        do.wfile.flush()
        do.server.closing.wait(5)


def drip(do: Handler, start: int, visit: int) -> None:
    """One byte at a time, so that no read ever times out."""
    do.give(start, start)
    for place in range(start, start + 100):
        if do.server.closing.wait(0.05):
            return
        do.wfile.write(do.server.data[place : place + 1])
        do.wfile.flush()


def redirect(do: Handler, start: int, visit: int) -> None:
    do.head(302, Location="/ok/model", Content_Length=0)


def loop(do: Handler, start: int, visit: int) -> None:
    do.head(302, Location="/loop/again", Content_Length=0)


def to_file(do: Handler, start: int, visit: int) -> None:
    do.head(302, Location="file:///etc/hostname", Content_Length=0)


def to_ftp(do: Handler, start: int, visit: int) -> None:
    do.head(302, Location="ftp://127.0.0.1/x", Content_Length=0)


def shorter(do: Handler, start: int, visit: int) -> None:
    do.give(start, Content_Length=len(do.server.data) - 10)


def longer(do: Handler, start: int, visit: int) -> None:
    do.give(start, Content_Length=len(do.server.data) + 10)


def endless(do: Handler, start: int, visit: int) -> None:
    """Says no length and goes on past the end."""
    do.head(200)
    for _ in range(1000):
        do.wfile.write(do.server.data)


def unsaid(do: Handler, start: int, visit: int) -> None:
    """Says no length, but sends what is right."""
    do.head(200)
    do.wfile.write(do.server.data)


def wrong(do: Handler, start: int, visit: int) -> None:
    do.head(200, Content_Length=len(do.server.data))
    do.wfile.write(bytes(len(do.server.data)))


def half_wrong(do: Handler, start: int, visit: int) -> None:
    """Wrong bytes, and breaks off; what goes on from there can only be wrong."""
    do.head(200, Content_Length=len(do.server.data))
    do.wfile.write(bytes(len(do.server.data) // 2))


def other_range(do: Handler, start: int, visit: int) -> None:
    size = len(do.server.data)
    if visit == 1:
        do.give(0, size // 2)
    else:
        do.give(start, Content_Range=f"bytes {start - 1}-{size - 1}/{size}")


def other_total(do: Handler, start: int, visit: int) -> None:
    size = len(do.server.data)
    if visit == 1:
        do.give(0, size // 2)
    else:
        do.give(start, Content_Range=f"bytes {start}-{size - 1}/{size + 7}")


def dies(do: Handler, start: int, visit: int) -> None:
    """Dies midway, is away twice, comes back."""
    if visit == 1:
        do.give(start, len(do.server.data) // 3)
        do.connection.close()
    elif visit == 2:
        do.head(503, Content_Length=0, Retry_After=7)
    elif visit == 3:
        do.connection.close()
    else:
        do.give(start)


def page(do: Handler, start: int, visit: int) -> None:
    do.head(200, Content_Type="text/html", Content_Length=15)
    do.wfile.write(b"<html>no</html>")


def packed(do: Handler, start: int, visit: int) -> None:
    do.give(start, Content_Encoding="gzip")


def gone(do: Handler, start: int, visit: int) -> None:
    do.head(404, Content_Length=0)


def down(do: Handler, start: int, visit: int) -> None:
    do.head(503, Content_Length=0)


def slow(do: Handler, start: int, visit: int) -> None:
    """Gives everything in twenty pieces."""
    size = len(do.server.data)
    do.give(start, start)
    step = size // 20 + 1
    for place in range(start, size, step):
        time.sleep(0.02)
        do.wfile.write(do.server.data[place : place + step])
        do.wfile.flush()


WAYS: dict[str, Behaviour] = {
    way.__name__: way
    for way in (
        ok, norange, refuse, truncate, truncate_always, stall, drip, redirect, loop, to_file, to_ftp, shorter, longer,
        endless, unsaid, wrong, half_wrong, other_range, other_total, dies, page, packed, gone, down, slow,
        slow_head, babble,
    )
}  # fmt: skip
