"""The names of the package: all there, and light until used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import zoo.checkpoint


def test_every_name_is_there_and_is_no_module() -> None:
    for name in zoo.checkpoint.__all__:
        assert callable(getattr(zoo.checkpoint, name)), name


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match=r"'zoo\.checkpoint' has no attribute 'lod'"):
        zoo.checkpoint.lod  # noqa: B018


def test_a_function_stays_a_function_whatever_was_imported_first() -> None:
    code = (
        "import sys, zoo.checkpoint\n"
        "assert 'torch' not in sys.modules\n"
        "import zoo.checkpoint.loading, zoo.checkpoint.conversion, zoo.checkpoint.migration\n"
        "from zoo.checkpoint import convert, initialise, load, migrate\n"
        "assert all(map(callable, (convert, initialise, load, migrate)))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
