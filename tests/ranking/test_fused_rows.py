"""Triton's tiles give what plain torch gives; interpreted on the processor, in a process of its own."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from zoo.ranking import fused_rows


@pytest.mark.skipif(find_spec("triton") is None, reason="no Triton for this platform")
def test_interpreted_kernels_equal_plain_torch():
    worker = Path(__file__).with_name("fused_worker.py")
    done = subprocess.run([sys.executable, worker], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all equal"


def test_a_processor_and_float64_are_left_to_plain_torch():
    assert not fused_rows.fusible(torch.zeros(2, 2))
    if torch.cuda.is_available():
        assert not fused_rows.fusible(torch.zeros(2, 2, dtype=torch.float64, device="cuda"))


def test_where_triton_does_not_run_it_is_told(monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(fused_rows, "_kernels", Broken)
    monkeypatch.setattr(fused_rows, "find_spec", lambda name: name)
    fused_rows._runs_on.cache_clear()
    with pytest.warns(
        UserWarning, match=r"Triton does not run on cpu \(RuntimeError: no compiler\); similarity losses use"
    ):
        assert not fused_rows._runs_on(torch.device("cpu"))
    fused_rows._runs_on.cache_clear()
