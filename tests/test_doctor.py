"""doctor says what is in force and advises on each thing that costs speed: on made-up machines, and on this one."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scratchgpt
from scratchgpt import backend, doctor

GOOD = {
    "cpu": {"name": "a processor", "cores": 2, "quota": None, "load": 0.1, "flags": ["avx2", "avx512f"],
            "avx512": True},
    "blas": [{"library": "openblas", "version": "0.3", "kernels": "SkylakeX", "threads": 2}],
    "tuning": {"blas": "SKYLAKEX kernels asked for", "allocator": "freed memory is kept (mallopt)"},
    "sgemm_gflops_1_thread": 100.0,
    "automatic": None,
    "gpu": {"driver": False, "usable": False, "state": "no CuPy"},
    "versions": {"scratchgpt": "0.1"},
}  # fmt: skip


def changed(path, value):
    report = copy.deepcopy(GOOD)
    *keys, last = path
    at = report
    for key in keys:
        at = at[key]
    at[last] = value
    return report


def test_a_machine_without_fault_gets_no_advice(capsys):
    assert doctor.advice(GOOD) == []
    doctor.show(GOOD | {"advice": []})
    assert "Nothing here costs speed." in capsys.readouterr().out


@pytest.mark.parametrize(("path", "value", "said"), [
    (("cpu", "avx512"), False, "no AVX-512"),
    (("cpu", "quota"), 1.5, "--threads 1"),
    (("cpu", "load"), 1.9, "other programs"),
    (("blas",), [], "no BLAS library"),
    (("blas", 0, "threads"), 8, "8 threads on 2 cores"),
    (("blas", 0, "threads"), 1, "1 of 2 cores"),
    (("tuning", "allocator"), "left alone: not glibc", "not glibc"),
    (("tuning", "allocator"), "left alone: SCRATCHGPT_TUNE=0", "unset SCRATCHGPT_TUNE"),
    (("tuning", "allocator"), "mallopt refused", "LD_PRELOAD"),
    (("gpu", "driver"), True, "no CuPy"),
])  # fmt: skip
def test_one_fault_gets_one_line(path, value, said):
    (line,) = doctor.advice(changed(path, value))
    assert said in line and "\n" not in line


@pytest.mark.parametrize(("tuned", "said"), [
    ("left alone: OPENBLAS_CORETYPE=Haswell was set", "unset OPENBLAS_CORETYPE"),
    ("left alone: SCRATCHGPT_TUNE=0", "unset SCRATCHGPT_TUNE"),
    ("left alone: NumPy was imported before scratchgpt", "import scratchgpt before NumPy"),
])  # fmt: skip
def test_kernels_that_are_not_the_chosen_ones_are_explained_with_both_rates(tuned, said):
    report = changed(("tuning", "blas"), tuned)
    report["blas"][0]["kernels"] = "Haswell"
    report["automatic"] = {"kernels": "SkylakeX", "gflops": 180.0}
    (line,) = doctor.advice(report)
    assert said in line and "80% faster here (180 GFLOP/s)" in line and "Haswell (100 GFLOP/s)" in line


def test_the_same_kernels_by_another_way_need_no_advice():
    report = changed(("tuning", "blas"), "left alone: OPENBLAS_CORETYPE=SKYLAKEX was set")
    assert doctor.advice(report | {"automatic": {"kernels": "SkylakeX", "gflops": 150.0}}) == []


# ---- on this machine, in processes of its own


def run_doctor(program="", **environment):
    """doctor's JSON from a fresh process that runs `program` first."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "SCRATCHGPT"))}
    clean["PYTHONPATH"] = str(Path(scratchgpt.__file__).parents[1])
    program += "\nimport argparse\nfrom scratchgpt import doctor\ndoctor.main(argparse.Namespace(json=True))"
    program += "\nimport sys; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean | environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_doctor_reports_what_is_in_force_without_importing_torch():
    report = run_doctor()
    assert report["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert report["sgemm_gflops_1_thread"] > 0
    wanted, _ = backend.kernels_for(backend.cpu_info())
    if wanted is not None:  # asked for, and given
        assert report["blas"][0]["kernels"].upper() == wanted


def test_the_users_kernels_are_kept_and_named():
    if "avx2" not in backend.cpu_flags():
        pytest.skip("Haswell kernels need AVX2")
    report = run_doctor(OPENBLAS_CORETYPE="Haswell")
    assert report["tuning"]["blas"] == "left alone: OPENBLAS_CORETYPE=Haswell was set"
    assert report["blas"][0]["kernels"] == "Haswell"
    advised = any("unset OPENBLAS_CORETYPE" in line for line in report["advice"])
    assert advised == (report["automatic"]["kernels"] != "Haswell")


def test_tuning_turned_off_is_said_with_what_it_costs():
    report = run_doctor(SCRATCHGPT_TUNE="0")
    assert set(report["tuning"].values()) == {"left alone: SCRATCHGPT_TUNE=0"}
    assert any("unset SCRATCHGPT_TUNE" in line for line in report["advice"])


def test_numpy_imported_first_is_said():
    report = run_doctor("import numpy")
    assert report["tuning"]["blas"] == "left alone: NumPy was imported before scratchgpt"
    differs = report["automatic"]["kernels"] != report["blas"][0]["kernels"]
    assert any("import scratchgpt before NumPy" in line for line in report["advice"]) == differs
