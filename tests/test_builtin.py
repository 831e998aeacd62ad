"""The model in the package: whole, small, and good enough for what the program says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rwkv_rag import app, models
from rwkv_rag.config import Settings
from rwkv_rag.encoders.base import MODEL, Base
from rwkv_rag.encoders.embedder import RwkvEmbedder
from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.encoders.reader import RwkvReader
from rwkv_rag.rag.pipeline import answer_from
from rwkv_rag.types import Answer, Chunk, Hit, Writer

DOCUMENTS = models.PACKAGE / "demo" / "documents"


@pytest.fixture(scope="module")
def base() -> Base:
    return Base(models.BUILTIN_MODEL)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[app.Client]:
    with app.open_client(Settings(home=tmp_path_factory.mktemp("home"))) as parts:
        parts.knowledge.create("demo")
        stages = [event.stage for event in parts.knowledge.index("demo", [DOCUMENTS])]
        assert stages.count("indexed") == 4
        yield parts


def ask(parts: app.Client, question: str) -> Answer:
    *_, answer = parts.pipeline().answer(question, kb="demo")
    assert isinstance(answer, Answer)
    return answer


def test_it_fits_into_sixty_mebibytes() -> None:
    assert sum(file.stat().st_size for file in models.BUILTIN_MODEL.iterdir()) < 60 * 2**20


def test_every_role_runs_on_it(base: Base) -> None:
    texts = ["北京是中国的首都。", "The gates close at nine."]
    vectors = RwkvEmbedder(base).embed_documents(texts)
    assert vectors.shape == (2, RwkvEmbedder(base).model.dimension)
    assert all(RwkvReader(base).read("中国的首都是哪里？", texts))


def test_vectors_tell_a_question_what_it_is_about(base: Base) -> None:
    """Chance would put the right one of eight first once in eight times."""
    known = [
        ("保修期有多长？", "本产品的保修期为两年，自购买之日起计算。"),
        ("谁可以申请年假？", "工作满一年的职工可以申请带薪年假。"),
        ("图书馆几点开门？", "图书馆每天上午八点开门，晚上十点关门。"),
        ("这道菜要放多少盐？", "把鸡蛋打散，加一小勺盐，下锅翻炒。"),
        ("How do I install Python?", "Download Python and run the installer to install it."),
        ("What is the population of Chad?", "Chad - People. Population: 19,093,595"),
        ("Who wrote the treaty?", "The treaty was written by the two foreign ministers."),
        ("How are files deleted?", "Use the rm command to delete files from a directory."),
    ]
    embedder = RwkvEmbedder(base)
    questions = embedder.embed_queries([question for question, _ in known])
    passages = embedder.embed_documents([passage for _, passage in known])
    right = (questions @ passages.T).argmax(axis=1) == range(len(known))
    assert right.sum() >= 4


@pytest.mark.parametrize(
    ("question", "document", "part"),
    [
        ("When do the gates close from April to September?", "harbour", "at nine in the evening"),
        ("What is the annual fee for a plot?", "harbour", "The annual fee is 48 pounds"),
        ("处理不满十四周岁未成年人的个人信息，应当取得谁的同意？", "个人信息", "其他监护人"),
        ("云雀L3的滤芯使用寿命是多久？", "云雀", "12 个月"),
    ],
)
def test_it_quotes_the_right_place(
    parts: app.Client, question: str, document: str, part: str
) -> None:
    answer = ask(parts, question)
    assert not answer.refused
    (citation, *_) = answer.citations
    assert document in citation.document
    assert part in citation.quote
    whole = parts.knowledge.document("demo", citation.document).text
    assert whole[citation.start : citation.end] == citation.quote


def test_it_refuses_what_no_document_answers(parts: app.Client) -> None:
    answer = ask(parts, "谁获得了 2022 年足球世界杯冠军？")
    assert answer.refused and not answer.citations


LINE = "灯塔建于一八七五年，高三十一米，由工程师李明远设计；守塔的人一家住在石屋里，靠捕鱼为生。"
ODD = {
    "nothing": ("什么？", [""]),
    "white space": ("多少？", [" \n\t\u3000", "。"]),
    "very long": ("灯塔高多少米？", [LINE * (8000 // len(LINE))] * 20),
    "mixed languages": (
        "灯塔的 height 是多少 metres？",
        ["The 灯塔 is 31 metres 高, built 于 1875."],
    ),
    "emoji": ("😀的生日是哪天？🎂", ["😀" * 300 + "😀的生日是🎂五月三日🎉。" + "👩‍👩‍👧‍👦" * 90]),
    "code": (
        "What does f return?",
        ["def f(x):\n\treturn {'a': [x, None], **kw}  # <b>&amp;</b>\n" * 9],
    ),
    "a table": (
        "What is the price of tea?",
        ["| item | price |\n|---|--:|\n| tea | 3.50 |\n" * 20],
    ),
    "right to left": ("متى بني البرج؟", ["بني البرج عام 1875. مرحبا\u202eabc\u202c"]),
    "an unknown language": ("Hvornår blev fyret bygget?", ["Fyret blev bygget i 1875 af Ærø."]),
    "broken characters": ("a\ud800b?", ["\ud800 is no character \x00\x07."]),
    "one character without end": ("啊" * 900, ["啊" * 4000]),
}


@pytest.mark.parametrize(("question", "passages"), ODD.values(), ids=ODD)
def test_whatever_it_is_given_it_quotes_or_refuses(
    parts: app.Client, question: str, passages: list[str]
) -> None:
    hits = [
        Hit(Chunk(f"{n}-0", f"{n}.txt", 0, 0, len(text), text), score=1.0, relevance=1.0)
        for n, text in enumerate(passages)
    ]
    *_, answer = answer_from(parts.answerer(), question, hits)
    assert isinstance(answer, Answer)
    assert answer.refused != bool(answer.citations)
    assert len(answer.text) <= 400
    for citation in answer.citations:
        number = int(citation.document.removesuffix(".txt"))
        assert passages[number][citation.start : citation.end] == citation.quote


def test_damaged_weights_are_an_error_of_ours(tmp_path: Path) -> None:
    from rwkv_rag.errors import UnsupportedModel

    for file in models.BUILTIN_MODEL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / MODEL).read_bytes()
    (tmp_path / MODEL).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsupportedModel):
        Base(tmp_path)


def test_the_manifest_is_filled_in() -> None:
    """Export leaves it cautious; calibrate.py measures."""
    manifest = Manifest.read(models.BUILTIN_MODEL)
    assert set(manifest.reading) == {"zh", "en"}
    assert 0 < manifest.relevance < 1


def test_answers_are_made_as_was_measured_best() -> None:
    manifest = Manifest.read(models.BUILTIN_MODEL)
    settings = models.answering(Writer("builtin", "builtin", writes=manifest.writes))
    assert settings.strategy == "read" and settings.writes == manifest.writes
    assert (settings.threshold, settings.rank_weight) == (manifest.relevance, manifest.rank_weight)
