"""`scratchgpt doctor`: what this machine has, what was chosen on it, and what costs speed."""

import json
import os
import platform
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

import scratchgpt
from scratchgpt import backend
from scratchgpt.errors import InputError

PACKAGES = (
    "numpy", "torch", "transformers", "tokenizers", "tiktoken", "safetensors", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip
MEASURED_SECONDS = 0.2
SGEMM_SIZE = 1024
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
WORTH_SAYING = 0.05  # a rate that differs by less is the machine's noise


def add_arguments(parser):
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def main(args):
    report = examine()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


def examine():
    """Everything doctor knows, as a dict that JSON can hold. Takes a second or two; never imports torch."""
    report = {
        "cpu": cpu(),
        "blas": blas(),
        "tuning": dict(backend.tuning),
        "sgemm_gflops_1_thread": sgemm_gflops(),
        "automatic": None,
        "gpu": gpu(),
        "versions": versions(),
    }
    if report["tuning"]["blas"].startswith("left alone") and report["blas"]:
        report["automatic"] = automatic_choice()
        report["sgemm_gflops_1_thread"] = max(report["sgemm_gflops_1_thread"], sgemm_gflops())
    return report | {"advice": advice(report)}


def cpu():
    flags = backend.cpu_flags()
    return {
        "name": backend.cpu_info().get("model name") or platform.processor() or platform.machine(),
        "cores": backend.available_cores(),
        "quota": cpu_quota(),
        "load": os.getloadavg()[0],
        "flags": sorted(flag for flag in flags if flag in ("avx2", "fma") or flag.startswith("avx512")),
        "avx512": flags >= backend.AVX512_NEEDED,
    }


def cpu_quota():
    """The cores' worth of time that the container may use, or None where nothing limits it."""
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def blas():
    """What threadpoolctl sees: one entry per BLAS library loaded."""
    return [
        {
            "library": info["internal_api"],
            "version": info.get("version") or "unknown",
            "kernels": info.get("architecture", "unknown"),
            "threads": info["num_threads"],
        }
        for info in backend.blas_pools().info()
    ]


def sgemm_gflops(seconds=MEASURED_SECONDS):
    """The best rate of a square float32 product on one thread, in GFLOP/s."""
    return backend.matmul_flops_per_second(np, threads=1, n=SGEMM_SIZE, seconds=seconds) / 1e9


def automatic_choice():
    """{"kernels", "gflops"} of a fresh process in which nothing keeps scratchgpt from choosing; None if it fails."""
    program = (
        "import json; from scratchgpt import doctor; "
        f"print(json.dumps([doctor.blas()[0]['kernels'], doctor.sgemm_gflops({2 * MEASURED_SECONDS})]))"
    )
    environment = backend.child_environment(OPENBLAS_CORETYPE=None, SCRATCHGPT_TUNE=None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    return dict(zip(("kernels", "gflops"), json.loads(done.stdout))) if done.returncode == 0 else None


def gpu():
    """{"driver": an NVIDIA driver is loaded, "usable": CuPy sees a device, "state": in words}"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's own advice on CUDA_PATH
        try:
            cupy = backend.get_module("cuda")
        except InputError as error:
            return {"driver": NVIDIA_DRIVER.exists(), "usable": False, "state": str(error)}
    runtime = cupy.cuda.runtime
    device, version = runtime.getDeviceProperties(0), runtime.runtimeGetVersion()
    name, memory = device["name"].decode(), device["totalGlobalMem"] / 2**30
    state = f"{name}, {memory:.0f} GiB, CUDA {version // 1000}.{version % 1000 // 10}"
    return {"driver": True, "usable": True, "state": state}


def versions():
    """{package: version} of what is installed, from its metadata: nothing is imported for it."""
    found = {"scratchgpt": scratchgpt.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def advice(report):
    """One line for each thing that costs speed in a report of `examine`."""
    return [*processor_advice(report["cpu"]), *blas_advice(report), *allocator_advice(report), *gpu_advice(report)]


def processor_advice(cpu):
    if not cpu["avx512"]:
        yield "the processor has no AVX-512: products may run at half the rate of one that has; use such a machine"
    if cpu["quota"] is not None and cpu["quota"] < cpu["cores"]:
        yield (
            f"the container may use {cpu['quota']:g} of the {cpu['cores']} cores it sees: pass --threads "
            f"{max(1, int(cpu['quota']))}, more threads only wait for each other"
        )
    if cpu["load"] > 0.5 * cpu["cores"]:
        yield (
            f"the load is {cpu['load']:.1f} on {cpu['cores']} cores: other programs take part of them; wait for them, "
            "or use fewer --threads"
        )


def blas_advice(report):
    if not report["blas"]:
        yield "no BLAS library was found behind NumPy: products are slow; install numpy from its own wheels"
        return
    in_force, automatic, gflops = report["blas"][0], report["automatic"], report["sgemm_gflops_1_thread"]
    if automatic is not None and automatic["kernels"] != in_force["kernels"]:
        gain = automatic["gflops"] / gflops - 1
        cost = f"{abs(gain):.0%} {'faster' if gain > 0 else 'slower'}" if abs(gain) > WORTH_SAYING else "as fast"
        yield (
            f"the BLAS kernels in force are {in_force['kernels']} ({gflops:.0f} GFLOP/s); scratchgpt would choose "
            f"{automatic['kernels']}, {cost} here ({automatic['gflops']:.0f} GFLOP/s): {remedy(report['tuning'])}"
        )
    cores = report["cpu"]["cores"]
    for library in report["blas"]:
        if library["threads"] > cores:
            yield (
                f"{library['library']} has {library['threads']} threads on {cores} cores: unset OPENBLAS_NUM_THREADS, "
                f"OMP_NUM_THREADS and MKL_NUM_THREADS, or set them to {cores}"
            )
        elif library["threads"] < cores:
            yield (
                f"{library['library']} has {library['threads']} of {cores} cores for sampling and large products "
                f"outside training: set OPENBLAS_NUM_THREADS to {cores}, or unset it"
            )


def remedy(tuning):
    """What to do about kernels that were left alone."""
    if "SCRATCHGPT_TUNE" in tuning["blas"]:
        return "unset SCRATCHGPT_TUNE"
    if "OPENBLAS_CORETYPE" in tuning["blas"]:
        return "unset OPENBLAS_CORETYPE to let it"
    return "import scratchgpt before NumPy, for OpenBLAS reads its settings only while it is loaded"


def allocator_advice(report):
    said = report["tuning"]["allocator"]
    if "SCRATCHGPT_TUNE" in said:
        yield (
            "the allocator is left alone, so each step gives its memory back to the system and takes it again: unset "
            "SCRATCHGPT_TUNE"
        )
    elif "not glibc" in said:
        yield "the C library is not glibc, so freed memory cannot be kept between steps: a glibc system trains faster"
    elif "refused" in said:
        yield "mallopt refused to keep freed memory between steps: look for a replaced malloc (LD_PRELOAD)"


def gpu_advice(report):
    if report["gpu"]["driver"] and not report["gpu"]["usable"]:
        yield f"an NVIDIA driver is loaded, but the GPU cannot be used: {report['gpu']['state']}"


def show(report):
    """Prints a report of `examine`."""
    cpu, gpu = report["cpu"], report["gpu"]
    quota = "" if cpu["quota"] is None else f", {cpu['quota']:g} cores' worth allowed"
    rows = [
        ("processor", cpu["name"]),
        ("cores", f"{cpu['cores']}{quota}, load {cpu['load']:.1f}"),
        ("flags", " ".join(cpu["flags"]) or "none of avx2, fma, avx512*"),
        *(("BLAS", f"{one['library']} {one['version']}, {one['kernels']} kernels, {one['threads']} threads")
          for one in report["blas"]),
        ("BLAS kernels", report["tuning"]["blas"]),
        ("allocator", report["tuning"]["allocator"]),
        ("sgemm, 1 thread", f"{report['sgemm_gflops_1_thread']:.0f} GFLOP/s"),
        ("GPU", gpu["state"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())),
    ]  # fmt: skip
    for name, value in rows:
        print(f"{name:<16} {value}")
    print()
    for line in report["advice"]:
        print(f"* {line}")
    if not report["advice"]:
        print("Nothing here costs speed.")
