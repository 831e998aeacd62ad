from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.knowledge.split import embedded_text, pages_of, split
from rwkv_rag.types import Document, Page

PIECES = [
    "质保期两年。",
    "退货",
    "，",
    "\n",
    "\n\n",
    " ",
    "# 标题\n",
    "一、范围\n",
    "e\u0301",
    "👩\u200d🔧",
]
PIECES += ["Hello world. ", "word ", "？”", "第一章 总则\n", "3.14", "🇨🇳", "\u3000", "a" * 30]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=120).map("".join) | st.text(max_size=300)
SIZES = st.integers(16, 80).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(0, (size - 1) // 2))
)


def make(text: str, pages: tuple[Page, ...] = ()) -> Document:
    return Document("a.txt", text, "0" * 64, pages=pages)


@given(TEXTS, SIZES)
def test_chunks_are_exact_ordered_bounded_and_complete(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    chunks = split(make(text), size=size, overlap=overlap)
    covered: set[int] = set()
    for number, chunk in enumerate(chunks):
        assert chunk.index == number
        assert chunk.text == text[chunk.start : chunk.end]
        assert 0 < len(chunk.text) <= size
        assert chunk.text == chunk.text.strip()
        covered.update(range(chunk.start, chunk.end))
    for left, right in itertools.pairwise(chunks):
        assert left.start < right.start
        assert left.end < right.end
        assert left.end - right.start <= overlap
    assert all(position in covered or text[position].isspace() for position in range(len(text)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@given(
    st.lists(st.sampled_from(["e\u0301", "👩\u200d🔧", "👍🏽", "质", "한"]), max_size=60).map(
        "".join
    )
)
def test_no_character_loses_its_marks(text: str) -> None:
    for chunk in split(make(text), size=20, overlap=6):
        assert not unicodedata.category(chunk.text[0]).startswith("M")
        assert chunk.text[0] not in "\u200d🏽"
        assert chunk.text[-1] != "\u200d"


def test_a_cluster_longer_than_a_chunk_is_split_all_the_same() -> None:
    text = "e" + "\u0301" * 100
    assert "".join(c.text for c in split(make(text), size=16, overlap=0)) == text


def test_chunks_end_at_sentences_and_overlap_from_sentences() -> None:
    text = "".join(f"这是第{number}个句子，说的是同一件事。" for number in range(10, 40))
    chunks = split(make(text), size=60, overlap=20)
    assert all(chunk.text.endswith("。") for chunk in chunks)
    assert all(chunk.text.startswith("这是第") for chunk in chunks)
    assert all(right.start < left.end for left, right in itertools.pairwise(chunks))


def test_closing_quotes_stay_with_their_sentence() -> None:
    text = "他说：“质保期是两年，从购买那一天开始算起。”然后他就离开了这家商店，再也没有回来。"
    assert split(make(text), size=30, overlap=0)[0].text.endswith("。”")


def test_decimals_and_versions_are_no_sentence_ends() -> None:
    text = "Version 3.14 costs 2.50 euros today. Another sentence follows here."
    assert split(make(text), size=40, overlap=0)[0].text == "Version 3.14 costs 2.50 euros today."


def test_a_heading_starts_a_chunk_and_is_its_path() -> None:
    body = "质保的内容写在这里。" * 4
    text = f"# 手册\n\n{body}\n\n## 质保\n\n{body}\n\n## 退货\n\n{body}\n"
    chunks = split(make(text), size=60, overlap=10)
    starts = {chunk.text.split("\n")[0]: chunk.heading for chunk in chunks}
    assert starts["## 质保"] == "手册 > 质保"
    assert starts["## 退货"] == "手册 > 退货"
    assert not any("\n#" in chunk.text for chunk in chunks)


def test_small_sections_share_a_chunk_under_their_common_heading() -> None:
    text = "# 手册\n## 质保\n两年。\n## 退货\n七天。\n"
    (chunk,) = split(make(text), size=100, overlap=0)
    assert chunk.heading == "手册"
    assert embedded_text(chunk) == "手册\n" + text.strip()


def test_a_heading_above_a_heading_goes_with_what_follows() -> None:
    body = "个人信息的处理应当合法。" * 4
    text = f"第一章 总则\n{body}\n第二章 规则\n第一节 一般规定\n{body}\n"
    first, second = split(make(text), size=72, overlap=0)
    assert first.text == f"第一章 总则\n{body}"
    assert second.text.startswith("第二章 规则\n第一节")
    assert second.heading == "第二章 规则 > 第一节 一般规定"


def test_text_without_headings_is_embedded_as_it_is() -> None:
    (chunk,) = split(make("质保两年。"), size=100, overlap=0)
    assert embedded_text(chunk) == "质保两年。"


def test_a_chunk_knows_the_page_it_starts_on_and_all_it_touches() -> None:
    text = "第一页的内容在这里。\n第二页的内容在这里。\n第三页的内容在这里。"
    pages = (Page(1, 0, 10), Page(2, 11, 21), Page(3, 22, 32))
    chunks = split(make(text, pages), size=22, overlap=0)
    assert [chunk.page for chunk in chunks] == [1, 3]
    assert [[p.number for p in pages_of(pages, c.start, c.end)] for c in chunks] == [[1, 2], [3]]


@pytest.mark.parametrize(("size", "overlap"), [(15, 0), (8001, 0), (400, 200), (400, -1)])
def test_impossible_sizes_are_refused_by_name(size: int, overlap: int) -> None:
    with pytest.raises(InputError, match=str(size)):
        split(make("text"), size=size, overlap=overlap)


def test_ids_stay_the_same_and_tell_files_apart(document: Callable[..., Document]) -> None:
    one, two = document("a.txt", "质保两年。"), document("b.txt", "质保两年。")
    ids = [split(d, size=50, overlap=0)[0].id for d in (one, one, two)]
    assert ids[0] == ids[1] != ids[2]
