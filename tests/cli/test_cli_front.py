"""The front: exit codes, messages, --debug, help; with a verb that does what the test says."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pytest

import zoo.cli
from zoo._version import __version__
from zoo.cli import VERBS, Verb, main
from zoo.cli.arguments import ROOTS
from zoo.errors import InputError, ZooError
from zoo.recipe import Mistake, Place, RecipeError

Act = Callable[..., object]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], list]:
    """Adds the verb ``act RECIPE [--name N] [--data D]`` that runs a function and records its arguments."""
    calls: list = []

    def install(act: Act) -> list:
        module = ModuleType("zoo.cli.act")
        module.HELP, module.EXAMPLES = "act", ("zoo act one", "zoo act two")

        def arguments(parser):
            parser.add_argument("recipe", metavar="RECIPE")
            parser.add_argument("rest", nargs="*")
            parser.add_argument("--name")
            parser.add_argument("--data")
            parser.add_argument("--seeds", type=int)

        def run(args):
            calls.append(args)
            return act() or 0

        module.arguments, module.run = arguments, run
        monkeypatch.setitem(sys.modules, "zoo.cli.act", module)
        monkeypatch.setitem(zoo.cli.VERBS, "act", Verb("act", "do", ROOTS))
        return calls

    return install


def fail(error: BaseException) -> Act:
    def act() -> None:
        raise error

    return act


NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "runs/x/last.ckpt")
MISTAKES = RecipeError([Mistake(Place("r.yaml", 3), "no 'a'"), Mistake(Place("--model.b"), "no 'b'")])


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (InputError("the file is wrong"), 2, ["error: the file is wrong"]),
        (ZooError("stopped"), 1, ["error: stopped"]),
        (InputError("a.npy: bad\nb.npy: bad\n  row 3"), 2, ["error: a.npy: bad", "error: b.npy: bad", "  row 3"]),
        (MISTAKES, 2, ["r.yaml:3: no 'a'", "--model.b: no 'b'"]),
        (KeyError("x"), 1, ["error: KeyError: 'x' (run with --debug for the traceback)"]),
        (RuntimeError("\nlong\nstory"), 1, ["error: RuntimeError: long (run with --debug for the traceback)"]),
        (RuntimeError(), 1, ["error: RuntimeError (run with --debug for the traceback)"]),
        (KeyboardInterrupt(), 1, ["error: interrupted"]),
        (MemoryError(), 1, ["error: out of memory"]),
        (NO_SPACE, 1, ["error: runs/x/last.ckpt: no space left on device; free some space and run again"]),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, ["error: runs: permission denied"]),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ["error: broken pipe"]),  # not stdout's: a worker's
    ],
)
def test_errors_are_plain_lines(verb, capsys, error, code, lines):
    verb(fail(error))
    assert main(["act", "r"]) == code
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_debug_shows_the_traceback_wherever_it_stands(verb, capsys):
    verb(fail(InputError("wrong")))
    for argv in (["--debug", "act", "r"], ["act", "--debug", "r"], ["act", "r", "--debug"]):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert "Traceback (most recent call last)" in err
        assert err.splitlines()[-1] == "error: wrong"


def test_arguments_reach_the_verb(verb):
    calls = verb(lambda: 0)
    before = list(sys.argv)
    argv = ["do", "--model.margin", "-0.5", "demo", "--name=x", "--debug", "one", "--data", "other", "two"]
    assert main(argv) == 0
    args = calls[0]
    assert (args.recipe, args.rest, args.name, args.data) == ("demo", ["one", "two"], "x", "other")
    assert (args.overrides, args.debug) == ([("model.margin", "-0.5")], True)
    assert sys.argv == before
    assert argv[0] == "do"


def test_everything_after_the_separator_is_positional(verb):
    calls = verb(lambda: 0)
    assert main(["act", "--", "--debug", "--model.margin"]) == 0
    assert (calls[0].recipe, calls[0].rest, calls[0].debug, calls[0].overrides) == (
        "--debug",
        ["--model.margin"],
        False,
        [],
    )


def test_exit_code_of_the_verb(verb):
    verb(lambda: 2)
    assert main(["act", "r"]) == 2


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["trian"], "unknown verb 'trian'; did you mean 'train'? (zoo --help lists the verbs)"),
        (["tets"], "unknown verb 'tets'; did you mean 'test'? (zoo --help lists the verbs)"),
        (["x.yaml"], "unknown verb 'x.yaml' (zoo --help lists the verbs)"),
        (["--verson"], "the verb comes first: zoo VERB ... --verson; did you mean '--version'?"),
        (["--model.margin", "3", "act"], "the verb comes first: zoo VERB ... --model.margin"),
        (["act"], "the following arguments are required: RECIPE, rest (see zoo act --help)"),
        (["act", "r", "--nmae", "x"], "unknown option '--nmae'; did you mean '--name'? (see zoo act --help)"),
        (["act", "r", "--nam=x"], "unknown option '--nam'; did you mean '--name'? (see zoo act --help)"),
        (["act", "r", "-name=x"], "unknown option '-name'; did you mean '--name'? (see zoo act --help)"),
        (
            ["act", "r", "--modle.net.a", "1"],
            "unknown option '--modle.net.a'; did you mean '--model.net.a'? (see zoo act --help)",
        ),
        (
            ["act", "r", "--seed-everything", "1"],
            "unknown option '--seed-everything'; did you mean '--seed_everything'? (see zoo act --help)",
        ),
        (["act", "r", "--name"], "--name: expected one argument (see zoo act --help)"),
        (["act", "r", "--seeds", "two"], "--seeds: invalid int value: 'two' (see zoo act --help)"),
        (["act", "r", "--model.x"], "option --model.x needs a value, e.g. --model.x VALUE"),
        (["list", "losses", "h*", "more"], "unexpected argument 'more' (see zoo list --help)"),
        (["list", "--model.x", "1"], "unknown option '--model.x': zoo list takes no recipe overrides"),
        (["data", "list", "--trainer.x", "1"], "of a recipe's keys only data"),
    ],
)
def test_usage_mistakes(verb, capsys, argv, line):
    verb(lambda: 0)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert line in err
    assert len(err.splitlines()) == 1


def test_every_unknown_option_is_named(verb, capsys):
    verb(lambda: 0)
    assert main(["act", "r", "--nmae", "x", "--modl.x", "3"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in err] == [
        "error: unknown option '--nmae'",
        "error: unknown option '--modl.x'",
    ]


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"], ["--debug", "--help"]])
def test_help_lists_every_verb(capsys, argv):
    assert main(argv) == 0
    out = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"\n  {name}" in out
        assert verb.help in out
    assert "fit" in out
    assert "test" in out


@pytest.mark.parametrize("name", list(VERBS))
def test_help_of_each_verb_ends_with_its_two_examples(capsys, name):
    module = import_module(f"zoo.cli.{name}")
    assert VERBS[name].help == module.HELP
    assert len(module.EXAMPLES) == 2
    assert all(line.startswith(f"zoo {name} ") for line in module.EXAMPLES)
    for argv in ([name, "--help"], [name, "whatever", "--nonsense", "-h"]):
        assert main(argv) == 0
        out = capsys.readouterr().out
        assert out.endswith("examples:\n" + "".join(f"  {line}\n" for line in module.EXAMPLES))
        assert "--debug" in out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zoo {__version__}\n"


def test_closed_pipe_is_quiet():
    command = f"{sys.executable} -m zoo list losses | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")  # 0 where all was written before the reader went away


def test_pipe_closed_before_writing_is_quiet():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "list", "losses"], stdout=writing, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "zoo", "trian"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean 'train'?" in done.stderr


def test_only_a_process_of_its_own_stops_collecting_garbage():
    """``main`` with a command line of its caller's leaves the caller's collector alone."""
    before = gc.get_threshold(), gc.get_freeze_count()
    assert main(["list", "losses"]) == 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
    code = "import gc, sys; from zoo.cli import main; main(); print(gc.get_threshold()[0], gc.get_freeze_count() > 0)"
    for argv, seen in ((["list", "losses"], "100000 True"), (["data", "list"], f"{before[0][0]} False")):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == seen
