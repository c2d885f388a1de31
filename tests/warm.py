"""Runs programs in processes of their own, forked from one that has imported what is slow to import.

A cold ``python -m zoo`` spends most of its time importing torch and lightning. The forked process has its own
arguments, folder, environment and output, and has used no tensor and started no thread before. Tests of start-up run
cold.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

SLOW = [
    "torch",
    "torchvision",
    "torchmetrics",
    "lightning.pytorch",
    "timm",
    "pandas",
    "matplotlib.pyplot",
    "jsonargparse",
]


class Server:
    """The process to fork from; started at the first run, ended with its test run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="warm"))
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(self.folder / "socket")], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()  # it listens

    def run(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """What ``python ARGUMENTS`` gives, run in that folder.

        Raises:
            subprocess.TimeoutExpired: It took longer; it was killed.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as place, socket.socket(socket.AF_UNIX) as line:
            out, err = Path(place) / "out", Path(place) / "err"
            line.connect(str(self.folder / "socket"))
            wanted = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "out": str(out), "err": str(err)}
            answers = line.makefile("rw")
            answers.write(json.dumps(wanted) + "\n")
            answers.flush()
            group = int(answers.readline())
            line.settimeout(timeout)
            try:
                code = int(answers.readline())
            except TimeoutError as error:
                os.killpg(group, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout, out.read_bytes(), err.read_bytes()) from error
            texts = [file.read_text(errors="replace") for file in (out, err)]
            return subprocess.CompletedProcess(list(arguments), code, *texts)

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait()
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


def serve(address: str) -> None:
    """Forks a keeper per request, which forks the program, and tells its process group and then its exit status."""
    sys.path[0] = os.getcwd()  # the tests' folder holds a package of the same name as others
    for module in SLOW:
        __import__(module)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped by the system
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            keep(connection)
        connection.close()


def keep(connection: socket.socket) -> None:
    """Runs one program and tells how it ended."""
    line = connection.makefile("rw")
    wanted = json.loads(line.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        become(wanted)
    line.write(f"{child}\n")
    line.flush()
    _, status = os.waitpid(child, 0)
    line.write(f"{os.waitstatus_to_exitcode(status)}\n")
    line.flush()
    os._exit(0)


def become(wanted: dict) -> None:
    """Turns this process into the program."""
    os.setsid()
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, wanted["out"], os.O_WRONLY | os.O_CREAT),
        (2, wanted["err"], os.O_WRONLY | os.O_CREAT),
    ):
        file = os.open(name, flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    code = 1
    try:
        program, *arguments = wanted["arguments"]
        if program == "-m":
            name, *arguments = arguments
            sys.path[0], sys.argv = wanted["cwd"], [name, *arguments]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            sys.path[0], sys.argv = str(Path(program).parent), [program, *arguments]
            runpy.run_path(program, run_name="__main__")
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as after a fork: what the parent has at exit is not ours


if __name__ == "__main__":
    serve(sys.argv[1])
