"""What the doctor knows of the optional parts is what the package declares."""

from __future__ import annotations

from pathlib import Path

from rwkv_rag.diagnosis.extras import EXTRAS


def test_the_extras_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    for extra, distributions in EXTRAS.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{extra} = [")]
        declared = [part.split(">=")[0].strip(' "[]') for part in line.split("=", 1)[1].split(",")]
        assert tuple(declared) == distributions
