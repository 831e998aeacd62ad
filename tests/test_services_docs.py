"""What docs/services.md says of ragq.yml is what the code takes, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from rwkv_rag.cli.main import run
from rwkv_rag.config import SERVICES
from rwkv_rag.config.file import RENAMED, read
from rwkv_rag.config.ragq import Ragq

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("services.md", "services.zh-CN.md")
LINE = re.compile(r"^\| `([\w.]+)` \|(.*)\|$", re.MULTILINE)


def table(page: str, section: int) -> dict[str, list[str]]:
    """The lines of a table by their first cell, in the part of the page after the n-th heading."""
    part = (DOCS / page).read_text("utf-8").split("\n## ")[section]
    return {key: [cell.strip() for cell in rest.split("|")] for key, rest in LINE.findall(part)}


def defaults(section: BaseModel, before: str = "") -> Iterator[tuple[str, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from defaults(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def shown(value: object) -> str:
    said = str(value).lower() if isinstance(value, bool) else str(value or "")
    return f"`{said}`" if said else ""


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_keys_has_every_key_with_its_default(page: str) -> None:
    said: dict[str, str] = {}
    for key, (default, _) in table(page, 4).items():
        first, _, rest = key.partition(".")
        names = [f"{name}.{rest}" for name in SERVICES] if first == "SERVICE" else [key]
        said |= dict.fromkeys(names, default)
    taken = {key: shown(value) for key, value in defaults(Ragq())}
    protocols = {key for key in taken if key.endswith(".protocol")}  # tcp where there is no ipc
    assert said.keys() == taken.keys()
    assert {key: said[key] for key in said.keys() - protocols} == {
        key: taken[key] for key in taken.keys() - protocols
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_key_of_the_predecessor_has_its_line(page: str) -> None:
    said = {key: cells[0] for key, cells in table(page, 5).items()}
    assert said.keys() == RENAMED.keys()
    for key, instead in ((key, str(value)) for key, value in RENAMED.items()):
        if instead.startswith("write "):
            assert said[key] == f"`{instead.removeprefix('write ')}`"
        elif page == PAGES[0]:
            assert said[key].replace("`", "") == instead


@pytest.mark.parametrize("page", PAGES)
def test_the_pictures_are_there(page: str) -> None:
    for name in re.findall(r"\]\((images/[^)]+)\)", (DOCS / page).read_text("utf-8")):
        assert (DOCS / name).stat().st_size > 0


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_explained_exists(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = set(re.findall(r"(?:^|`)rwkv-rag ([a-z]+)", (DOCS / page).read_text("utf-8"), re.M))
    assert said >= {"up", "status", "down", "restart", "worker", "keys", "config", "doctor"}
    for command in said:
        assert run([command, "--help"]) == 0, command
    capsys.readouterr()


@pytest.mark.parametrize("page", PAGES)
def test_every_ragq_yml_in_the_pages_is_taken(page: str, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        (tmp_path / "ragq.yml").write_text(example)
        assert read(tmp_path / "ragq.yml") != Ragq()
