"""What `import minidl` brings, and which room may look into which (DESIGN, section 3)."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import minidl

ROOT = Path(minidl.__file__).parent

HEAVY = [
    "mlflow",
    "pydantic",
    "typer",
    "rich",
    "yaml",
    "numba",
    "matplotlib",
    "scipy",
    "safetensors",
    "torch",
    "cupy",
    "PIL",
    "onnx",
    "psutil",
    "mpi4py",
    "threadpoolctl",
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "optuna",
    "sqlalchemy",
    "alembic",
]

#: Which rooms a room may import from; itself it always may.
ARROWS: dict[str, set[str]] = {
    "autograd": set(),
    "arguments": set(),
    "kernels": {"autograd.primitive", "autograd.arrays", "threads"},  # what an array is
    "ops": {"autograd", "kernels"},
    "numpy_functions": {"ops"},
    "numpy_protocols": {"numpy_functions", "ops", "autograd"},
    "methods": {"ops", "autograd", "numpy_protocols"},
    "tensor": {"ops", "autograd", "numpy_protocols", "methods"},
    "fft": {"ops"},
    "linalg": {"ops"},
    "special": {"ops"},
    "nn": {"ops", "tensor", "autograd", "arguments", "distributed"},
    "explaining": {"autograd", "ops", "nn"},
    "onnx": {"autograd", "nn", "tensor", "__init__"},
    "compiling": {"autograd", "ops", "kernels", "arguments"},
    "profiling": {"autograd", "nn", "optim", "tensor"},
    "models": {"nn", "ops", "arguments", "autograd"},
    "optim": {"tensor", "kernels", "autograd", "arguments"},
    "data": {"tensor", "arguments", "kernels"},
    "distributed": {"autograd", "kernels", "ops", "optim"},
    "threads": set(),
    "__init__": {
        "threads",
        "autograd",
        "ops",
        "tensor",
        "fft",
        "linalg",
        "special",
        "explaining",
        "compiling",
    },
    "train": {
        "compiling",
        "distributed",
        "models",
        "onnx",
        "profiling",
        "nn",
        "optim",
        "data",
        "ops",
        "tensor",
        "autograd",
        "arguments",
        "__init__",
    },
    "serving": {"train", "data", "autograd", "__init__"},
    "sweep": {"train"},
    "service": {"distributed", "train", "serving", "sweep", "__init__"},
    "__main__": {"cli"},
    "cli": {
        "distributed",
        "kernels",
        "serving",
        "service",
        "sweep",
        "explaining",
        "train",
        "nn",
        "optim",
        "data",
        "ops",
        "tensor",
        "autograd",
        "arguments",
        "__init__",
    },
}

#: Nothing below `train` knows of YAML, tracking or a command line.
THIRD_PARTY: dict[str, set[str]] = {
    room: {"numpy"}
    for room in ARROWS
    if room not in ("data", "train", "serving", "service", "sweep", "cli")
} | {
    "explaining": {"numpy", "sympy"},
    "onnx": {"numpy", "onnx"},
    "data": {"numpy", "torchvision", "PIL"},
    "kernels": {"numpy", "numba"},
    "distributed": {"numpy", "mpi4py"},
    "threads": {"numpy", "threadpoolctl"},
}


def imports(path: Path) -> set[str]:
    """Modules named in import statements of a file, wherever they stand."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for block in ast.walk(tree):  # what only a type checker sees is no arrow
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            block.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide the arrows"
            name = node.module or ""
            # `from minidl import ops` names a room, `from minidl import grad` does not.
            rooms = {f"minidl.{a.name}" for a in node.names if a.name in ARROWS}
            found.update(rooms if name == "minidl" and rooms else {name})
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


SOURCES = sorted(ROOT.rglob("*.py"))
each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES]
)


@each_source
def test_arrows_point_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in ARROWS, f"{room} is new: say in tests/test_imports.py what it may import"
    for name in imports(path):
        if name.split(".")[0] != "minidl":
            continue
        target = name.removeprefix("minidl").removeprefix(".") or "__init__"
        allowed = ARROWS[room] | {room}
        assert any(target == a or target.startswith(a + ".") for a in allowed), (
            f"{path.relative_to(ROOT)} imports {name}; {room} may import from {sorted(allowed)}"
        )


@each_source
def test_only_the_upper_rooms_know_third_parties(path: Path) -> None:
    allowed = THIRD_PARTY.get(room_of(path))
    if allowed is None:
        return
    foreign = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
    assert foreign - {"minidl"} <= allowed


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_import_minidl_brings_numpy_and_the_engine_only() -> None:
    loaded = modules_after("import minidl")
    assert "numpy" in loaded
    assert loaded & set(HEAVY) == set()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("minidl.")}
    engine = {
        "autograd",
        "kernels",
        "methods",
        "numpy_functions",
        "numpy_protocols",
        "ops",
        "tensor",
    }
    assert rooms <= engine | {"fft", "linalg", "special", "threads"}


def test_layers_and_optimizers_need_no_more() -> None:
    assert modules_after("import minidl.nn, minidl.optim, minidl.data") & set(HEAVY) == set()


def test_everything_that_is_exported_exists() -> None:
    assert len(set(minidl.__all__)) == len(minidl.__all__)
    for name in minidl.__all__:
        assert getattr(minidl, name) is not None
