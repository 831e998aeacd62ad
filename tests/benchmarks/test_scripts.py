"""Every benchmark can be started, is documented, and `make bench` runs them in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_says_how_it_is_used(script: Path) -> None:
    line = [sys.executable, str(script), "--help"]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"usage: {script.name}" in ran.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_is_in_the_benchmarks_readme(script: Path) -> None:
    assert script.name in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_make_bench_sets_up_and_warns_before_it_measures() -> None:
    line = ["make", "-n", "--always-make", "bench"]
    plan = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = ["dev]'", "GB", "rwkv-rag bench", "product.py", "compare_rwkv.py"]
    places = [plan.find(step) for step in steps]
    assert -1 not in places and places == sorted(places), plan
