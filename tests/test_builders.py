"""The services as a worker process runs them: the shipped model over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from rwkv_rag import builders, models
from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.local import Local
from rwkv_rag.config import Settings
from rwkv_rag.errors import NotAllowed, NotFound
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker
from rwkv_rag.knowledge.sending import sending
from rwkv_rag.services.contracts import EMBEDDER, GENERATOR, KNOWLEDGE, READER, RERANKER
from rwkv_rag.services.remote import remote
from rwkv_rag.testing import text_document
from rwkv_rag.types import GREEDY

from .running import serving


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueClient]:
    service = builders.llm_service(Settings(home=tmp_path_factory.mktemp("home")))
    service.warm()
    with ExitStack() as held:
        front = serving(held, service.handler, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        yield held.enter_context(closing(QueueClient(front)))


def test_all_roles_of_one_model_work_at_once(llm: QueueClient) -> None:
    embedder: Embedder = remote(EMBEDDER, llm)
    reader: Reader = remote(READER, llm)
    generator: Generator = remote(GENERATOR, llm)
    texts = ["保修期为两年。", "The gates close at nine."]

    def embed(_: int) -> object:
        return embedder.embed_documents(texts).tobytes()

    def read(_: int) -> object:
        reading = reader.read("When do the gates close?", texts)[1]
        return str(reading)

    def write(_: int) -> object:
        stream = generator.generate("春眠不觉晓", sampling=GREEDY, max_tokens=12)
        return "".join(delta.text for delta in stream)

    alone = [work(0) for work in (embed, read, write)]
    with ThreadPoolExecutor(6) as threads:
        together = [threads.submit(work, 0) for work in (embed, read, write) * 4]
        assert [future.result() for future in together] == alone * 4


def test_vectors_are_the_models_own(llm: QueueClient) -> None:
    from rwkv_rag.encoders.embedder import RwkvEmbedder

    there: Embedder = remote(EMBEDDER, llm)
    itself = RwkvEmbedder(models.builtin())
    assert there.model == itself.model
    assert np.array_equal(there.embed_queries(["年假"]), itself.embed_queries(["年假"]))


def test_reranking_puts_the_passage_that_answers_first(llm: QueueClient) -> None:
    reranker: Reranker = remote(RERANKER, llm)
    texts = ["本店周一休息。", "本产品的保修期为两年，自购买之日起计算。", "请勿水洗滤芯。"]
    scores = reranker.rerank("保修期有多长？", texts)
    assert max(scores) == scores[1] and all(0 <= score <= 1 for score in scores)


def test_a_stranger_cannot_have_files_loaded(llm: QueueClient) -> None:
    with pytest.raises(NotFound, match="no model '/etc/passwd' here; there are: builtin"):
        _ = remote(GENERATOR, llm, {"model": "/etc/passwd"}).name


def test_services_tell_of_themselves_and_let_go(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, model="fake")
    llm, tuning = builders.llm_service(settings), builders.tuning_service(settings)
    with closing(Local(llm.handler)) as transport:
        index = builders.index_service(settings, transport)
        assert list(tmp_path.iterdir()) == []  # nothing is opened before it is needed
        for service in (llm, index, tuning):
            service.warm()
        assert (tmp_path / "catalog.sqlite3").exists()
        for service in (llm, index, tuning):
            service.close()
    assert llm.facts() == {"model": "fake", "tuned": "", "device": "cpu"}


def test_an_index_that_others_reach_reads_no_file_for_them(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, model="fake")
    with closing(Local(builders.llm_service(settings).handler)) as llm:
        service = builders.index_service(settings, llm, builders.refuse_files)
        knowledge: Knowledge = remote(KNOWLEDGE, Local(service.handler))
        knowledge.create("docs")
        with pytest.raises(NotAllowed, match="reads no files"):
            knowledge.index("docs", [Path("/etc/passwd")])
        events = sending(knowledge).index("docs", [Path(__file__).with_name("missing.txt")])
        assert [event.stage for event in events] == ["reading", "skipped"]
        assert list(knowledge.add("docs", [text_document("a.txt", "Some text.")]))
        service.close()


def test_an_unusable_model_is_said_when_the_service_gets_ready(tmp_path: Path) -> None:
    missing = Settings(home=tmp_path, model=str(tmp_path / "none.pth"))
    service = builders.llm_service(missing)
    with pytest.raises(NotFound, match=r"none\.pth"):
        service.warm()
