from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.knowledge.headings import sections


def paths(text: str) -> list[str]:
    return [" > ".join(section.path) for section in sections(text)]


def test_markdown_headings_nest() -> None:
    text = "intro\n# 手册\n## 质保\n两年\n### 换货 ##\n七天\n## 售后\n"
    assert paths(text) == ["", "手册", "手册 > 质保", "手册 > 质保 > 换货", "手册 > 售后"]


def test_chinese_headings_nest() -> None:
    text = "第一章 总则\n第一节 适用\n一、范围\n（二）例外\n二、期限\n第二章 罚则\n"
    assert paths(text) == [
        "第一章 总则",
        "第一章 总则 > 第一节 适用",
        "第一章 总则 > 第一节 适用 > 一、范围",
        "第一章 总则 > 第一节 适用 > 一、范围 > （二）例外",
        "第一章 总则 > 第一节 适用 > 二、期限",
        "第二章 罚则",
    ]


def test_numbered_headings_nest() -> None:
    assert paths("1.2 Warranty\ntext\n1.2.1 Parts\ntext\n1.3 Returns\n") == [
        "1.2 Warranty",
        "1.2 Warranty > 1.2.1 Parts",
        "1.3 Returns",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "一、保修期内免费更换零件，人工费另计。",
        "（一）以向境内自然人提供产品或者服务为目的；",
        "第一章" + "很长" * 40,
        "3.14 159",
        "#hashtag",
        "1. 一个普通的列表项",
        "第二条 自然人的个人信息受法律保护",
    ],
)
def test_prose_is_no_heading(line: str) -> None:
    assert paths(line) == [""]


def test_comments_in_code_are_no_headings() -> None:
    assert paths("# A\n```sh\n# comment\n```\n# B\n") == ["A", "B"]


@given(st.lists(st.sampled_from(["# A", "## B", "一、甲", "正文。", "", "第一章 乙", "```"])))
def test_sections_start_at_lines_and_cover_the_text(lines: list[str]) -> None:
    text = "\n".join(lines)
    starts = [section.start for section in sections(text)]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert all(start == 0 or text[start - 1] == "\n" for start in starts)
