"""Where arrays live and how fast: NumPy or CuPy, BLAS kernels, threads, allocator.

`tune_before_numpy` runs when `scratchgpt` is imported. OpenBLAS inside NumPy's wheel picks its kernels by processor
model, and picks badly on AMD: Zen 5 is unknown to it and gets the Haswell kernels, at half the speed of the SkylakeX
ones (AVX-512), while Zen 4 gets SkylakeX although its 256-bit units run the Haswell ones faster. Nothing is touched
when NumPy is already loaded, when the user has chosen (OPENBLAS_CORETYPE), or when SCRATCHGPT_TUNE=0.
"""

import contextlib
import ctypes
import os
import platform
import sys
import time
from functools import cache

from scratchgpt.errors import InputError

AVX512_NEEDED = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})  # what SkylakeX kernels execute
AVX2_NEEDED = frozenset({"avx2", "fma"})  # what Haswell kernels execute
ZEN4_FAMILY, ZEN5_FAMILY = 25, 26
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h

tuning = {}  # what was done, for `scratchgpt doctor`


def cpu_info():
    """What Linux says of the first processor ("vendor_id", "cpu family", "model name", "flags", ...), or {}."""
    info = {}
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if not key.strip():
                    break  # the second processor follows
                info[key.strip()] = value.strip()
    except OSError:
        pass
    return info


def cpu_flags():
    """The processor's feature flags as Linux names them."""
    return frozenset(cpu_info().get("flags", "").split())


def tune_before_numpy():
    """Chooses the BLAS kernels and the allocator's behaviour; records what it did, and why not, in `tuning`."""
    if os.environ.get("SCRATCHGPT_TUNE") == "0":
        tuning.update(blas="left alone: SCRATCHGPT_TUNE=0", allocator="left alone: SCRATCHGPT_TUNE=0")
        return
    tuning["blas"] = choose_blas_kernels()
    tuning["allocator"] = keep_freed_memory()


def choose_blas_kernels():
    if "OPENBLAS_CORETYPE" in os.environ:
        return f"left alone: OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} was set"
    if "numpy" in sys.modules:
        return "left alone: NumPy was imported before scratchgpt"
    kernels, why = kernels_for(cpu_info())
    if kernels is None:
        return f"left alone: {why}"
    os.environ["OPENBLAS_CORETYPE"] = kernels
    try:
        import numpy  # noqa: F401  OpenBLAS reads the variable while it is loaded, and only then
    finally:
        del os.environ["OPENBLAS_CORETYPE"]  # ours alone: child processes choose for themselves
    return f"{kernels} kernels asked for: {why}"


def kernels_for(cpu):
    """(OpenBLAS core type to ask for or None, why), for a processor as cpu_info describes it. Only kernels whose every
    instruction the flags list are ever asked for: others would crash."""
    flags = frozenset(cpu.get("flags", "").split())
    if cpu.get("vendor_id") != "AuthenticAMD":
        return None, "not an AMD processor; OpenBLAS knows the others"
    if int(cpu.get("cpu family", 0)) >= ZEN5_FAMILY and flags >= AVX512_NEEDED:
        return "SKYLAKEX", "Zen 5 or newer, with AVX-512"
    if int(cpu.get("cpu family", 0)) == ZEN4_FAMILY and flags >= AVX512_NEEDED and flags >= AVX2_NEEDED:
        return "HASWELL", "Zen 4 runs the 256-bit kernels faster than the 512-bit ones"
    return None, "OpenBLAS chooses well here"


def keep_freed_memory():
    """Tells glibc to keep freed memory instead of returning it to the kernel: a training step frees and takes the same
    gigabytes again, and each return costs a page fault per 4 KiB."""
    if platform.libc_ver()[0] != "glibc":
        return "left alone: not glibc"
    libc = ctypes.CDLL(None)
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 1 << 28))
    if not all(libc.mallopt(option, value) for option, value in settings):
        return "mallopt refused"
    return "freed memory is kept (mallopt)"


tune_before_numpy()

import numpy as np  # noqa: E402
from threadpoolctl import ThreadpoolController  # noqa: E402


def array_module(x):
    """The module whose functions take x: numpy, cupy, or whichever module defines x's class."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def get_module(device):
    """ "cpu" -> numpy, "cuda" -> cupy. Raises InputError, saying what to install, when there is no such device."""
    if device == "cpu":
        return np
    if device != "cuda":
        raise InputError(f"device {device!r} is unknown; expected cpu or cuda")
    try:
        import cupy
    except ModuleNotFoundError:
        raise InputError(
            "device cuda needs CuPy, which is not installed; run pip install 'scratchgpt[cuda12]' "
            "(CUDA 12) or 'scratchgpt[cuda13]' (CUDA 13), or use --device cpu"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:  # CuPy is there, but a library of CUDA that it loads is not
        why = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"device cuda: CuPy cannot be imported: {why}; reinstall it, or use --device cpu") from None
    if not cupy.is_available():
        raise InputError("device cuda: CuPy finds no CUDA device here; check nvidia-smi, or use --device cpu")
    return cupy


def to_host(x):
    """x as a NumPy array (copied from the device if it lives there)."""
    return x if isinstance(x, np.ndarray) else x.get() if hasattr(x, "get") else np.asarray(x)


@cache
def blas_pools():
    """threadpoolctl's view of the BLAS libraries, found once: looking them up costs milliseconds, a limit 4 us."""
    return ThreadpoolController().select(user_api="blas")


def blas_threads(n):
    """Context manager: BLAS uses n threads inside it."""
    return blas_pools().limit(limits=n)


def available_cores():
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory():
    """Bytes of memory of this machine, or None where the system does not say."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def blas_kernels():
    """The kernel family each loaded BLAS library uses, such as "SkylakeX"."""
    return [info.get("architecture", "unknown") for info in blas_pools().info()]


def silence_float_warnings(xp):
    """Context manager: overflow and invalid operations pass silently (the training loop looks at the result)."""
    return np.errstate(all="ignore") if xp is np else contextlib.nullcontext()


def matmul_flops_per_second(xp, threads, dtype="float32", n=768, seconds=0.1):
    """The rate of a square matrix product of this machine, best of those that fit in `seconds`, in FLOPs per second."""
    a = xp.ones((n, n), dtype)
    best, deadline = float("inf"), time.perf_counter() + seconds
    with blas_threads(threads):
        while time.perf_counter() < deadline:
            start = time.perf_counter()
            product = a @ a
            if xp is not np:
                to_host(product[0, 0])  # waits for the device
            best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def child_environment(**changes):
    """The environment variables of a child process that imports this very package: this process's own, but for
    `changes`; None unsets a variable."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | changes
    return {name: value for name, value in environment.items() if value is not None}
