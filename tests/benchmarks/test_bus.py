"""The benchmark of the bus measures both sides and tells them apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bus.py"


@pytest.mark.slow
def test_it_measures_both_sides_and_says_how_they_compare() -> None:
    line = [sys.executable, str(SCRIPT), "--rounds", "1", "--seconds", "0.1", "--json"]
    ran = subprocess.run([*line, "--schemes", "ipc"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    rows = found["figures"]["ipc"]
    assert {*rows} == {"p50_s", "requests_per_s", "vectors_s", "first_later_s"}
    for name in ("p50_s", "requests_per_s", "vectors_s"):
        row = rows[name]
        assert row["ratio"] == row["bus"] / row["pattern"] > 0
    assert rows["vectors_s"]["ratio"] < 0.5
    assert -0.001 < rows["first_later_s"]["bus"] < 1.0
    assert found["rounds"] == 1 and found["machine"]["cores"] >= 1
