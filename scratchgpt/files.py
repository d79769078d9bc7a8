"""Files that are whole or not there: atomic writes, and safetensors files that are checked before they are believed.

A safetensors file is 8 bytes (little-endian header length), a JSON header {name: {dtype, shape, data_offsets}}, and
the tensors' bytes, back to back. Ours carry a SHA-256 of all of it in the header's `__metadata__`.
"""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchgpt.errors import InputError

MAX_HEADER = 100_000_000  # bytes; the safetensors library refuses longer headers too
DTYPES = {  # the format's code -> how NumPy holds it; bfloat16 and float8 have no NumPy type, so they are raw bits
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "BOOL": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
CODES = {np.dtype(DTYPES[code]): code for code in DTYPES if code[0] == "I" or code in ("F64", "F32", "F16", "U8")}
FLOATS = ("F64", "F32", "F16", "BF16")


def write_atomically(path, writer):
    """Calls writer(temporary path beside `path`), then renames it to `path`: readers and crashes see the old file or
    the new one, never part of one. What is renamed has reached the disk. On failure the temporary file is removed; a
    kill can leave one behind, which the next write replaces."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        writer(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C leaves nothing behind either
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say whose file it cut
            error.filename = str(path)
        raise
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)  # the rename itself must reach the disk
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_text(path, text):
    """Writes a UTF-8 text file atomically, with \\n line ends everywhere."""
    write_atomically(path, lambda temporary: temporary.write_bytes(text.encode("utf-8")))


def read_json(path):
    """The JSON object in a file. Raises InputError when the file is missing, not JSON, or not an object."""
    try:
        value = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; expected an object")
    return value


def write_tensors(path, tensors, metadata):
    """Writes {name: array} and {key: text} as one safetensors file, atomically, with a SHA-256 of both. The same
    content gives the same bytes. Raises OSError when the disk is full; the old file is then untouched."""
    tensors = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    digest = start_digest(metadata)
    header, end = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        code = CODES[array.dtype]
        add_to_digest(digest, name, code, array)
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    header["__metadata__"] = dict(sorted((metadata | {"sha256": digest.hexdigest()}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8 bytes

    def write(temporary):
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in tensors.values():
                file.write(raw_bytes(array))

    write_atomically(path, write)


def raw_bytes(array):
    """A C-contiguous array's bytes, without a copy."""
    return memoryview(array.reshape(-1)).cast("B") if array.size else b""


def start_digest(metadata):
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())


def add_to_digest(digest, name, code, array):
    digest.update(f"\n{json.dumps(name)} {code} {list(array.shape)}\n".encode())
    digest.update(raw_bytes(array))


class Entry(NamedTuple):
    """One tensor of a safetensors file: its dtype's code, its shape, and where its bytes are."""

    code: str
    shape: tuple
    start: int
    end: int


class TensorFile:
    """A safetensors file whose header has been checked against the file's real size; no tensor is read yet.

    entries: {name: Entry}; metadata: {key: text}. Raises InputError when the file is missing, truncated, or its header
    is not consistent: every size is checked before anything of that size is allocated.
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                header = self._read_header(file, size)
        except FileNotFoundError:
            raise InputError(f"{path} does not exist") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        self.metadata = header.pop("__metadata__", {})
        if not isinstance(self.metadata, dict) or not all(isinstance(text, str) for text in self.metadata.values()):
            self._refuse("__metadata__ is not a table of texts")
        self.entries = {name: self._entry(name, value) for name, value in header.items()}
        end = 0
        for name, entry in sorted(self.entries.items(), key=lambda item: item[1].start):
            if entry.start != end:
                self._refuse(f"tensor {name} starts at byte {entry.start} of the data; expected {end}")
            end = entry.end
        if self.data_start + end != size:
            self._refuse(f"the header describes {self.data_start + end:,} bytes, the file has {size:,}: "
                         "it was truncated or the header is wrong")  # fmt: skip

    def _refuse(self, reason):
        raise InputError(f"{self.path}: not a sound safetensors file: {reason}")

    def _read_header(self, file, size):
        length = int.from_bytes(file.read(8), "little")
        self.data_start = 8 + length
        if size < 8 or length > min(size - 8, MAX_HEADER):
            self._refuse(f"the header claims {length:,} bytes, the file has {size:,}: truncated, or another format")
        try:
            header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            self._refuse(f"the header is not JSON ({error})")
        if not isinstance(header, dict):
            self._refuse(f"the header is a JSON {type(header).__name__}; expected an object")
        return header

    def _entry(self, name, value):
        match value:
            case {"dtype": str(code), "shape": [*shape], "data_offsets": [start, end]}:
                pass
            case _:
                self._refuse(f"tensor {name} lacks dtype, shape or data_offsets")
        if code not in DTYPES:
            self._refuse(f"tensor {name} has the unknown dtype {code}")
        plausible = len(shape) <= 8 and all(type(number) is int and number >= 0 for number in (*shape, start, end))
        if not plausible or math.prod(number or 1 for number in shape) > 2**60:
            self._refuse(f"tensor {name} has sizes that no array has")
        expected = math.prod(shape) * np.dtype(DTYPES[code]).itemsize
        if end - start != expected:
            self._refuse(f"tensor {name} {code} {shape} takes {expected:,} bytes; the header gives it {end - start:,}")
        return Entry(code, tuple(shape), start, end)

    def read(self):
        """Yields (name, Entry, array) in the order of the names, bfloat16 as raw uint16; after the last one, raises
        InputError if the file has a SHA-256 and its content does not match it."""
        metadata = dict(self.metadata)
        expected = metadata.pop("sha256", None)
        digest = start_digest(metadata)
        with open(self.path, "rb") as file:
            for name in sorted(self.entries):
                entry = self.entries[name]
                dtype = np.dtype(DTYPES[entry.code])
                file.seek(self.data_start + entry.start)
                array = np.fromfile(file, dtype, math.prod(entry.shape))
                if array.size != math.prod(entry.shape):
                    self._refuse(f"tensor {name} ends early: the file was cut while it was read")
                array = array.reshape(entry.shape)
                if expected is not None:
                    add_to_digest(digest, name, entry.code, array)
                yield name, entry, array
        if expected is not None and digest.hexdigest() != expected:
            raise InputError(
                f"{self.path}: the content does not match its SHA-256: the file was damaged after it was written; "
                "use another copy or an earlier checkpoint"
            )


def _without_duplicates(pairs):
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name appears twice")
    return table


def as_float(code, array):
    """A tensor's numbers from its stored form: bfloat16, the upper half of a float32, becomes one."""
    return (array.astype(np.uint32) << 16).view(np.float32) if code == "BF16" else array
