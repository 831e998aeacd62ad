"""Texts in the language of the current context."""

from __future__ import annotations

import threading

import pytest

from rwkv_rag.errors import InputError, Message, joined, message, system_reason
from rwkv_rag.i18n import _, in_language, language, set_language
from rwkv_rag.types import Language


def test_a_text_is_translated_with_its_values_in_place() -> None:
    with in_language("zh"):
        assert _("deleted {name}", name="手册") == "已删除 手册"
    assert _("deleted {name}", name="手册") == "deleted 手册"


def test_an_error_is_translated_from_its_template_and_so_are_errors_within_it() -> None:
    reason = system_reason(PermissionError(13, "Permission denied"))
    error = InputError("{path} cannot be read: {reason}", path="a.md", reason=reason)
    assert str(error) == "a.md cannot be read: Permission denied"
    with in_language("zh"):
        assert _(error) == "a.md 无法读取：没有权限"
        assert _(InputError("job {id} failed: {reason}", id="ab", reason=error)) == (
            "任务 ab 失败：a.md 无法读取：没有权限"
        )


@pytest.mark.parametrize("chosen", ["en", "zh"])
def test_an_error_is_one_line_whatever_it_quotes(chosen: Language) -> None:
    reason = message("{path} is empty", path="bad\nname\r\n")
    error = InputError("{path} cannot be read: {reason}", path="a\tb\n", reason=reason)
    with in_language(chosen):
        assert len(_(error).splitlines()) == 1 and "bad name" in _(error)
    assert len(str(error).splitlines()) == 1


def test_what_the_catalogue_does_not_know_stays_as_it_is() -> None:
    with in_language("zh"):
        assert _(Message("no such {thing")) == "no such {thing"
        assert _("") == "" and _(None) == ""
        assert _(joined("; ", [message("checkpointing"), Message("x")])).endswith("; x")


def test_braces_of_values_are_not_taken_for_placeholders() -> None:
    error = InputError("{path} is empty", path="{0}.txt")
    assert str(error) == "{0}.txt is empty" and _(error) == "{0}.txt is empty"


def test_the_language_belongs_to_its_context() -> None:
    seen = []

    def elsewhere() -> None:
        seen.append(language())
        set_language("zh")

    with in_language("zh"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert language() == "zh"
    assert seen == ["en"] and language() == "en"


def test_a_message_survives_json() -> None:
    inner = message("{n:,} rows", n=1234)
    outer = message("{what}: {why}", what="a", why=inner)
    assert Message.from_json(outer.json()) == outer and str(outer) == "a: 1,234 rows"
