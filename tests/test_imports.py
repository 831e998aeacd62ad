"""What importing may load, and who may name which heavy library."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import rwkv_rag

SOURCE = Path(rwkv_rag.__file__).parent
HEAVY = ("torch", "numba", "chromadb", "streamlit", "pypdfium2", "fastapi", "zmq", "pandas")
OPTIONAL = ("lightning_fabric", "peft", "wandb", "psutil", "bitsandbytes", "fla")

OWNERS = {
    "torch": ("rwkv", "encoders", "tuning", "app.py", "diagnosis/computer.py"),
    "numba": ("rwkv", "tuning"),
    "chromadb": ("knowledge/vectors",),
    "pypdfium2": ("knowledge/load",),
    "streamlit": ("ui",),
    "typer": ("cli",),
    "zmq": ("bus",),
    "msgspec": ("bus", "services", "run_directory.py", "processes/specs.py"),
    "pydantic": ("config", "api"),
    "yaml": ("config",),
    "fastapi": ("api",),
    "uvicorn": ("api",),
    "prometheus_client": ("api",),
    "rich": ("cli", "tuning"),
    "lightning_fabric": ("tuning/devices.py",),
    "peft": ("tuning/adapters.py",),
    "wandb": ("tuning/tracking.py",),
    "psutil": ("tuning/memory.py", "processes", "diagnosis"),
    "bitsandbytes": ("tuning/quantized.py",),
    "fla": ("tuning/wkv.py",),
}


def modules() -> list[str]:
    found = pkgutil.walk_packages([str(SOURCE)], prefix="rwkv_rag.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return [name for name in names if name != "rwkv_rag.ui.main"]  # a script: it runs


def loaded_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*(sys.modules))"
    run = [sys.executable, "-c", program]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import rwkv_rag") & {*HEAVY, "numpy", "typer", "rich"}


def test_the_help_page_loads_nothing_heavy() -> None:
    loaded = loaded_after("from rwkv_rag.cli.main import run; run(['--help'])")
    assert "typer" in loaded
    assert not loaded & {*HEAVY, "numpy", "pydantic"}


def test_the_composition_root_loads_nothing_heavy() -> None:
    assert not loaded_after("import rwkv_rag.app") & {*HEAVY, "numpy"}


def test_what_only_a_job_needs_is_loaded_by_no_one_else() -> None:
    """Checking and listing jobs works where the extras for training are not installed."""
    loaded = loaded_after("import rwkv_rag.tuning.jobs, rwkv_rag.tuning.checks")
    assert not loaded & {*OPTIONAL}


@pytest.mark.parametrize("name", modules())
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_is_imported_only_by_its_owners(library: str) -> None:
    strangers = []
    for file in SOURCE.rglob("*.py"):
        place = file.relative_to(SOURCE).as_posix()
        if not place.startswith(OWNERS[library]) and library in imported(file):
            strangers.append(place)
    assert strangers == []


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if {"environ", "getenv"} & {name.attr for name in attributes(file)}
    ]
    assert set(readers) == {"config/__init__.py", "config/effective.py"}


def test_nobody_prints_and_nobody_unpickles_without_care() -> None:
    for file in SOURCE.rglob("*.py"):
        for call in calls(file):
            name, options = ast.unparse(call.func), {option.arg for option in call.keywords}
            assert name not in {"print", "eval", "exec", "pickle.load", "pickle.loads"}, file
            assert "shell" not in options, file
            assert name != "torch.load" or "weights_only=True" in ast.unparse(call), file


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imported(file: Path) -> frozenset[str]:
    """The top-level names `file` imports at run time; imports for type checkers do not count."""
    tree = parsed(file)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return frozenset(names)


def calls(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)]


def attributes(file: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(parsed(file)) if isinstance(node, ast.Attribute)]
