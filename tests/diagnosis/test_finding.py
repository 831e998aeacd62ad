"""A finding is translated with the reasons in it."""

from __future__ import annotations

from rwkv_rag.diagnosis.finding import fail
from rwkv_rag.errors import system_reason
from rwkv_rag.i18n import _, in_language


def test_a_reason_is_translated_and_a_name_is_not() -> None:
    why = system_reason(FileNotFoundError(2, "No such file or directory"))
    finding = fail("data", "{path} cannot be written: {why}", path="a file", why=why)
    with in_language("zh"):
        assert _(finding.text) == "a file 无法写入：没有这个文件或目录"
    with in_language("en"):
        assert _(finding.text) == "a file cannot be written: No such file or directory"
    assert finding.remedy is None


def test_the_remedy_is_filled_with_the_values_of_the_finding() -> None:
    assert str(fail("keys", "bad", "chmod 600 {path}", path="x").remedy) == "chmod 600 x"
