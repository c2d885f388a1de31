"""Imports every module of the zoo, builds every demo and trains one, and writes what asked for a network.

``offline_worker.py OUT`` in a folder of its own; an audit hook is there before anything else is imported.
"""

import sys

ASKED: list[str] = []
EVENTS = {
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "urllib.Request",
    "http.client.connect",
}


def watch(event: str, arguments: tuple) -> None:
    if event in EVENTS and not (event in ("socket.connect", "socket.bind") and isinstance(arguments[1], str | bytes)):
        ASKED.append(f"{event} {arguments[1:]}")  # an address that is a path is one of this machine's own sockets


sys.addaudithook(watch)

import pkgutil  # noqa: E402
from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402

import zoo  # noqa: E402
from zoo.cli import main  # noqa: E402
from zoo.recipe import build_data, build_model, names, read  # noqa: E402

if __name__ == "__main__":
    for found in pkgutil.walk_packages(zoo.__path__, "zoo."):
        if not found.name.endswith("__main__"):
            import_module(found.name)
    for name in names():
        if name.endswith("/demo"):
            build_model(read(name))
            build_data(read(name)).items("train")
    status = main(["train", "ltr/demo", "--trainer.max_epochs", "1", "--data.workers", "1"])
    Path(sys.argv[1]).write_text("".join(f"{line}\n" for line in [f"status {status}", *ASKED]))
