from __future__ import annotations

from collections.abc import Callable

import pytest

from rwkv_rag.errors import UnreadableDocument
from rwkv_rag.knowledge.load import pdf


def test_every_page_span_holds_the_text_of_its_page(make_pdf: Callable[..., bytes]) -> None:
    parsed = pdf.read(make_pdf(["First page.", "Second page.", "Third page."]), "a.pdf")
    shown = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert shown == ["First page.", "Second page.", "Third page."]
    assert [page.number for page in parsed.pages] == [1, 2, 3]


def test_a_page_without_text_keeps_its_number_and_an_empty_span(
    make_pdf: Callable[..., bytes],
) -> None:
    parsed = pdf.read(make_pdf(["First.", "", "Third."]), "a.pdf")
    assert [page.end - page.start for page in parsed.pages] == [6, 0, 6]


def test_a_pdf_without_any_text_is_called_scanned(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(UnreadableDocument, match=r"scan\.pdf is scanned: none of its 2 pages"):
        pdf.read(make_pdf(["", ""]), "scan.pdf")


def test_an_encrypted_pdf_is_called_encrypted(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(UnreadableDocument, match="encrypted; remove its password"):
        pdf.read(make_pdf(["Secret."], encrypted=True), "a.pdf")


@pytest.mark.parametrize("keep", [9, 60, 200])
def test_a_truncated_pdf_is_called_damaged(make_pdf: Callable[..., bytes], keep: int) -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.pdf is damaged"):
        pdf.read(make_pdf(["Some text."])[:keep], "a.pdf")


def test_a_pdf_with_too_many_pages_is_refused(
    make_pdf: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    with pytest.raises(UnreadableDocument, match="has 3 pages; the limit is 2"):
        pdf.read(make_pdf(["a", "b", "c"]), "a.pdf")


def test_lines_broken_by_the_margin_are_joined() -> None:
    raw = (
        "第一章 总则\r\n"
        "第一条 为了保护个人信息权益，规范个人信息处理活动，促进个人信息合理利用，根\r\n"
        "据宪法，制定本法。\r\n"
        "第二条 自然人的个人信息受法律保护，任何组织、个人不得侵害自然人的个人信息权\r\n"
        "益。\r\n"
    )
    assert pdf.reflowed(raw) == (
        "第一章 总则\n"
        "第一条 为了保护个人信息权益，规范个人信息处理活动，促进个人信息合理利用，"
        "根据宪法，制定本法。\n"
        "第二条 自然人的个人信息受法律保护，任何组织、个人不得侵害自然人的个人信息权益。"
    )


def test_english_lines_are_joined_with_a_space_and_hyphens_removed() -> None:
    raw = (
        "The warranty covers every part of the ma\x02\n"
        "chine for two years from the day of the\n"
        "purchase."
    )
    assert pdf.reflowed(raw) == (
        "The warranty covers every part of the machine for two years from the day of the purchase."
    )


def test_short_lines_stay_apart() -> None:
    assert pdf.reflowed("Menu\nSoup\nA much longer line that sets the width of the page\nTea") == (
        "Menu\nSoup\nA much longer line that sets the width of the page Tea"
    )
