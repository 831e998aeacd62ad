"""Errors reach a Chinese reader in Chinese where we know them, and always on one line."""

from __future__ import annotations

import ast
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rwkv_rag
from rwkv_rag import errors
from rwkv_rag.errors import InputError, NotFound, RagError
from rwkv_rag.evaluation import dataset
from rwkv_rag.messages import CHINESE, explain, explain_reason


def test_english_readers_get_the_message_as_it_is() -> None:
    assert explain(NotFound("no knowledge base 'x'"), "en") == "no knowledge base 'x'"


def test_what_we_do_not_know_stays_english() -> None:
    assert explain(RagError("something new"), "zh") == "something new"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_message_is_one_line_whatever_it_quotes(language: str) -> None:
    assert "\n" not in explain(InputError("bad\nname\r\n"), language)  # type: ignore[arg-type]


def test_values_travel_into_the_translation() -> None:
    assert explain_reason("report {1}.txt is empty", "zh") == "report {1}.txt 是空文件"


@pytest.mark.parametrize(("pattern", "chinese"), CHINESE)
def test_every_translation_uses_every_value_of_its_pattern(pattern: str, chinese: str) -> None:
    import re
    import string

    used = {int(name) for _, name, _, _ in string.Formatter().parse(chinese) if name}
    assert used <= set(range(re.compile(pattern).groups))


SOURCE = Path(rwkv_rag.__file__).parent
ENGLISH = re.compile(r"[A-Za-z]{2,}(?:[ ,;:()]+[A-Za-z]+){2,}")
PROGRAMMERS = (  # no command and no page can cause these: they are for those who call the library
    *("testing.py", "rag/answering.py", "knowledge/ingest.py"),
    *(f"rwkv/{name}.py" for name in ("grounding", "sampling", "state", "stops", "x070")),
)
ALSO_PROGRAMMERS = (
    "a checkpoint made in memory has no file hash; save it first",
    "models are saved as .safetensors, not 7: 7",
    "max_tokens is 7; it must be at least 1",
    "the prompt is empty; give the model something to continue",
    'mode "rag" needs a knowledge base to search; use mode "gold"',
    "the knowledge base 7 has no chunk 7",
)
PUT_TOGETHER = {
    *("7", "7 7", "7: 7", "there is no knowledge base 7; 7"),
    "7 7; training needs at least one good one",
    'it has 7 of "text", "messages" and "question"',
}
"""Messages whose words come from elsewhere; the commands' tests see them whole."""


def raised() -> Iterator[str]:
    """Every message the source raises for users, with 7 for each value."""
    names = {name for name, each in vars(errors).items() if isinstance(each, type)}
    for file in SOURCE.rglob("*.py"):
        if file.relative_to(SOURCE).as_posix().startswith(PROGRAMMERS):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names and node.args:
                yield rendered(node.args[0], constants)


def rendered(node: ast.expr, constants: dict[str, object]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(rendered(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return str(constants.get(node.value.id, "7"))
    return "7"


def is_chinese(said: str) -> bool:
    own = re.sub("`[^`]*`", "", said)  # without commands
    return bool(re.search("[\u4e00-\u9fff]", own)) and not ENGLISH.search(own)


def test_every_message_for_users_is_known_in_chinese() -> None:
    messages = {*raised()} - {*ALSO_PROGRAMMERS} - PUT_TOGETHER
    assert len(messages) > 60
    assert [each for each in messages if not is_chinese(explain_reason(each, "zh"))] == []


def files(folder: Path) -> Iterator[Path]:
    """Files that are no models, each in its own way."""
    import torch
    from safetensors.torch import save_file

    from rwkv_rag.rwkv.random_weights import random_tensors

    whole = dict(random_tensors(2, 64, 257))
    several = {
        "incomplete": {name: each for name, each in whole.items() if ".att.w1" not in name},
        "stranger": {**whole, "extra.weight": torch.zeros(2)},
        "shape": {**whole, "head.weight": torch.zeros(3, 3)},
        "other": {"weight": torch.zeros(2)},
        "hugging": {"model.layers.0.weight": torch.zeros(2)},
        "adapter": {"blocks.0.att.key.weight.lora_A": torch.zeros(2)},
        "sixth": {"blocks.0.att.time_maa_x": torch.zeros(2)},
        "fifth": {"blocks.0.att.ln_x.weight": torch.zeros(2)},
    }
    for name, tensors in several.items():
        save_file(tensors, folder / f"{name}.safetensors")
        yield folder / f"{name}.safetensors"
    contents = {"empty": b"", "gguf": b"GGUF1234567", "ggml": b"fmgg1234567", "text": b"# a text"}
    contents |= {"zip": b"PK\3\4 no zip", "pickle": b"\x80\2.", "cut": b"\x20" + bytes(7) + b'{"a"'}
    for name, content in contents.items():
        (folder / f"{name}.pth").write_bytes(content)
        yield folder / f"{name}.pth"
    torch.save([1, 2], folder / "list.pth")
    torch.save({"a": 1}, folder / "dictionary.pth")
    yield from (
        folder / "list.pth",
        folder / "dictionary.pth",
        folder / "missing.pth",
        folder,
        Path("/dev/null"),
    )


def test_what_is_wrong_with_a_model_reaches_a_chinese_reader_in_chinese(tmp_path: Path) -> None:
    from rwkv_rag.rwkv.checkpoint import load_checkpoint

    for file in files(tmp_path):
        with pytest.raises(InputError) as caught:
            load_checkpoint(file)
        said = explain(caught.value, "zh").replace("Hugging Face", "").replace(str(tmp_path), "")
        assert is_chinese(said), (str(caught.value), said)


ROW = '{"id": "1", "lang": "zh", "source": "", "title": "", "passage": "a", "question": "b"'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b"\xff\xfe\xfa",
        f"{ROW}}}".encode(),
        f'{ROW}, "answers": []}}'.encode(),
        f'{ROW}, "answers": [], "answerable": true}}'.encode(),
        ROW.replace("zh", "fr").encode() + b"}",
        ROW.replace('"b"', '" "').encode() + b"}",
        None,
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.xz"])
def test_what_is_wrong_with_a_question_file_reaches_a_chinese_reader_in_chinese(
    tmp_path: Path, content: bytes | None, ending: str
) -> None:
    file = tmp_path / f"q.{ending}"
    if content is not None:
        file.write_bytes(lzma.compress(content) if ending == "jsonl.xz" else content)
    with pytest.raises(InputError) as caught:
        dataset.read(file)
    assert "Errno" not in str(caught.value)
    assert is_chinese(explain(caught.value, "zh").replace(str(tmp_path), "")), str(caught.value)


def test_a_damaged_archive_is_named_in_chinese(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl.xz").write_bytes(b"no archive")
    with pytest.raises(InputError) as caught:
        dataset.read(tmp_path / "q.jsonl.xz")
    assert explain(caught.value, "zh").endswith("：不是 xz 文件，或已损坏")


def test_a_reason_is_translated_and_a_value_is_not() -> None:
    said = explain_reason("Permission denied.txt cannot be read: Permission denied", "zh")
    assert said == "Permission denied.txt 无法读取：没有权限"
