"""The direction of imports, and what `import scratchgpt` may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scratchgpt

PACKAGE = Path(scratchgpt.__file__).parent
# Lowest first: a module imports modules before its own, or parts of its own package.
ORDER = [
    *("errors", "files", "backend", "ops", "params", "optim", "blocks", "models", "tokenizers", "objectives", "tasks"),
    *("checkpoint", "evaluation", "data", "interop", "sampling", "distributed", "plot", "progress", "neighbours"),
    "train",
    *("run", "finetuning", "check"),
    *("embed", "infill", "fewshot", "homework", "lesson", "doctor", "bench", "cli"),
]
MAY_IMPORT_TORCH = {"bench/worker.py", "bench/torch_gpt.py"} | {
    f"check/lockstep/{name}.py" for name in ("absent", "bert", "definitions", "gpt", "heads", "t5", "taps", "twin")
}
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
MODULES = [name for name in MODULES if not name.startswith("lessons/")]  # an installed package carries them as data


def imported(module):
    """Dotted names of everything a module imports, inside functions too."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_imports_point_downwards(module):
    own = module.split("/")[0].removesuffix(".py")
    below = ORDER[: ORDER.index(own) + 1] if "/" in module else ORDER[: ORDER.index(own)]
    parts = [name.split(".")[1] for name in imported(module) if name.startswith("scratchgpt.")]
    assert set(parts) <= {*below, "__version__"}


def test_torch_is_imported_only_to_compare_with_it():
    importers = {module for module in MODULES if any(name.split(".")[0] == "torch" for name in imported(module))}
    assert importers <= MAY_IMPORT_TORCH


@pytest.mark.parametrize("statement", ["import scratchgpt", "import scratchgpt.cli", "from scratchgpt import GPT"])
def test_import_takes_neither_torch_nor_matplotlib(statement):
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", program]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent).stdout.split())
    assert "scratchgpt" in loaded
    assert not loaded & {"torch", "matplotlib", "transformers", "cupy", "tiktoken", "hypothesis"}
