"""Fetches one URL into a file: resumes, counts bytes, notices stalls; knows nothing of models. Imports no torch.

A server is not believed: it may cut off, stall, lie about the length, ignore or refuse ranges, and redirect anywhere.
No more than the expected number of bytes is ever written. Proxies and certificates are those of the usual environment
variables (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``).
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import uniform
from threading import Timer
from time import monotonic, sleep
from typing import Any

from zoo._version import __version__
from zoo.errors import InputError

CHUNK = 1 << 18
SLOWEST = 256  # bytes per second; a server that gives less for a whole timeout counts as stalled
HEAD = 3  # timeouts that the head of an answer may take
PERMANENT = (400, 401, 403, 404, 405, 410, 451)

Progress = Callable[[int], None]


class Gone(Exception):
    """This source will not give the file, however often it is asked."""


class Broken(Exception):
    """The transfer broke; asking again may help.

    Attributes:
        wait: Seconds that the server asks to wait; 0 where it does not say.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout: Seconds without news, ``$ZOO_TIMEOUT``.
        tries: Attempts without any progress before a source is given up, ``$ZOO_RETRIES`` + 1.
        backoff: Seconds before the second attempt, doubled each time up to 30 s.
    """

    timeout: float = 20.0
    tries: int = 5
    backoff: float = 0.5

    @classmethod
    def of_environment(cls) -> Patience:
        """As the environment variables say.

        Raises:
            InputError: One is no number.
        """
        return cls(_setting("ZOO_TIMEOUT", cls.timeout), 1 + int(_setting("ZOO_RETRIES", cls.tries - 1)))


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6 or (name == "ZOO_TIMEOUT" and value == 0):
        raise InputError(f"{name} must be a number above 0, not {text!r}")
    return value


def fetch(url: str, part: Path, size: int, patience: Patience, progress: Progress) -> None:
    """Fetches a file, going on from what ``part`` holds, until it has ``size`` bytes.

    Args:
        url: ``http://`` or ``https://``.
        part: Where the bytes go; it stays when the transfer breaks, to be gone on with.
        size: Bytes of the whole file.
        patience: Timeout, attempts, backoff.
        progress: Told the bytes that are there, whenever there are more.

    Raises:
        Gone: The server does not have the file, offers another size, or broke off too often.
    """
    failures = 0
    while True:
        before = _length(part)
        try:
            _once(url, part, size, patience.timeout, progress)
        except Broken as error:
            failures = 1 if _length(part) > before else failures + 1
            if failures >= patience.tries:
                raise Gone(f"{error} (given up after {failures} attempts)") from error
            wait = min(30.0, patience.backoff * 2 ** (failures - 1)) * uniform(0.75, 1.25)
            sleep(max(wait, min(error.wait, 60.0)))
        else:
            return


def _once(url: str, part: Path, size: int, timeout: float, progress: Progress) -> None:
    """One request; returns when the file has all its bytes."""
    have = _length(part)
    if have > size:
        part.unlink()
        have = 0
    if have == size:
        return
    response = _open(url, have, timeout)
    if response is None:  # the server refuses the range, or has less than we have: from the start
        part.unlink(missing_ok=True)
        raise Broken(f"the server refuses to go on at byte {have}")
    with response:
        start = _start(response, have, size)
        with part.open("r+b" if part.exists() else "wb") as stream:
            stream.truncate(start)
            stream.seek(start)
            progress(start)
            _copy(response, stream, start, size, timeout, progress)


def _open(url: str, have: int, timeout: float) -> Any:
    """The response to a request; None where the range is refused."""
    headers = {"User-Agent": f"rankzoo/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return _opener(timeout).open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return None
        said = f"the server answers {error.code} {' '.join(str(error.reason).split())[:160]}"
        if error.code in PERMANENT or (error.code < 500 and error.code not in (408, 425, 429)):
            raise Gone(said) from error
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        raise Broken(said, float(wait) if wait.isdigit() else 0.0) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        said = " ".join(str(reason).split()) or type(error).__name__
        if isinstance(error, ValueError | http.client.InvalidURL) and not isinstance(error, OSError):
            raise Gone(f"no usable address: {said[:160]}") from error
        raise Broken(f"no answer: {said[:160]}") from error


class _Http(urllib.request.HTTPHandler):
    """HTTP whose head has come in a few timeouts: one that comes byte by byte would never time out."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.limit = HEAD * timeout

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(partial(_in_time, http.client.HTTPConnection, self.limit), request)


class _Https(urllib.request.HTTPSHandler):
    """The same over TLS."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.limit = HEAD * timeout

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(partial(_in_time, http.client.HTTPSConnection, self.limit), request)


def _in_time(kind: type[http.client.HTTPConnection], limit: float, host: str, **named: Any) -> Any:
    """A connection that is cut off where the head of the answer is not there in time."""
    connection = kind(host, **named)
    answer = connection.getresponse

    def cut_off() -> None:
        with suppress(OSError, AttributeError):  # it ended by itself
            connection.sock.shutdown(socket.SHUT_RDWR)

    def getresponse() -> http.client.HTTPResponse:
        watch = Timer(limit, cut_off)
        watch.daemon = True
        watch.start()
        try:
            return answer()
        finally:
            watch.cancel()

    connection.getresponse = getresponse  # type: ignore[method-assign]
    return connection


def _opener(timeout: float) -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone: a redirect leads nowhere else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(timeout),
        _Https(timeout),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _start(response: Any, have: int, size: int) -> int:
    """The byte at which the body begins; refuses a server whose numbers cannot be those of the file."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise Gone("the server sends the file compressed, unasked")
    start = have if response.status == 206 else 0
    if response.status == 206:
        said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if said is None or int(said[1]) != have:
            raise Gone(f"the server sends another range than asked for ({response.headers.get('Content-Range')!r})")
        if said[3] != "*" and int(said[3]) != size:
            raise Gone(f"the server offers {said[3]} bytes, the file has {size}")
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != size:
        kind = response.headers.get_content_type()
        page = ", a web page" if kind == "text/html" else ""
        raise Gone(f"the server offers {start + int(length)} bytes{page}, the file has {size}")
    return start


def _copy(response: Any, stream: Any, have: int, size: int, timeout: float, progress: Progress) -> None:
    since, then = monotonic(), have
    while True:
        try:
            block = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            stalled = isinstance(error, TimeoutError)
            said = f"stalled for {timeout:g} s" if stalled else f"broke off ({str(error)[:80] or type(error).__name__})"
            raise Broken(f"the transfer {said} at byte {have} of {size}") from error
        if not block:
            break
        if have + len(block) > size:
            raise Gone(f"the server sends more than the {size} bytes of the file")
        stream.write(block)
        have += len(block)
        progress(have)
        now = monotonic()
        if now - since > timeout:
            if have - then < SLOWEST * (now - since) and have < size:
                raise Broken(f"the transfer stalled at byte {have} of {size}")
            since, then = now, have
    if have < size:
        raise Broken(f"the transfer was cut off at byte {have} of {size}")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
