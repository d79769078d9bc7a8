"""Which BLAS kernels are asked for, and that nobody's choice is overridden."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from scratchgpt import backend
from scratchgpt.errors import InputError

AVX512 = "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("cpu", "kernels"),
    [
        ({"vendor_id": "AuthenticAMD", "cpu family": "26", "flags": AVX512}, "SKYLAKEX"),
        ({"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": AVX512}, "HASWELL"),
        ({"vendor_id": "AuthenticAMD", "cpu family": "26", "flags": AVX512.replace(" avx512dq", "")}, None),
        ({"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "avx2 fma"}, None),
        ({"vendor_id": "AuthenticAMD", "cpu family": "23", "flags": "avx2 fma"}, None),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "flags": AVX512}, None),
        ({}, None),
    ],
)
def test_kernels_are_asked_for_only_where_every_instruction_is_there(cpu, kernels):
    asked, why = backend.kernels_for(cpu)
    assert asked == kernels and why


REPORT = """
import json, os
{before}
import scratchgpt
from scratchgpt.backend import blas_kernels, tuning
print(json.dumps([tuning["blas"], tuning["allocator"], blas_kernels(), os.environ.get("OPENBLAS_CORETYPE")]))
"""


def report(before="", **environment):
    ours = ("OPENBLAS_CORETYPE", "SCRATCHGPT_TUNE")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, "-c", REPORT.format(before=before)]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_users_own_choice_of_kernels_stands():
    blas, _, kernels, variable = report(OPENBLAS_CORETYPE="Nehalem")
    assert blas == "left alone: OPENBLAS_CORETYPE=Nehalem was set" and variable == "Nehalem"
    if "openblas" in str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]):
        assert kernels == ["Nehalem"]


def test_tuning_can_be_turned_off():
    blas, allocator, _, variable = report(SCRATCHGPT_TUNE="0")
    assert blas == allocator == "left alone: SCRATCHGPT_TUNE=0" and variable is None


def test_an_imported_numpy_is_left_alone():
    assert report(before="import numpy")[0] == "left alone: NumPy was imported before scratchgpt"


def test_the_variable_is_not_left_for_child_processes():
    assert report()[3] is None


def test_a_device_that_is_unknown_or_missing_says_what_to_do(monkeypatch):
    with pytest.raises(InputError, match="device 'tpu' is unknown; expected cpu or cuda"):
        backend.get_module("tpu")
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"pip install 'scratchgpt\[cuda12\]'"):
        backend.get_module("cuda")


def test_a_cupy_that_cannot_be_imported_says_why(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('\\n=====\\nlong') from OSError('libcuda.so.1 is not there')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(InputError, match=r"libcuda\.so\.1 is not there"):
        backend.get_module("cuda")
