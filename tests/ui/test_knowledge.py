"""The knowledge page makes, shows and deletes bases, and asks before it deletes."""

from __future__ import annotations

from rwkv_rag import app

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

from streamlit.testing.v1 import AppTest  # isort: skip


def script() -> None:
    from rwkv_rag.ui import knowledge

    knowledge.page()


def opened() -> AppTest:
    return AppTest.from_function(script, default_timeout=20).run()


def click(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def names(client: app.Client) -> list[str]:
    return [base.name for base in client.knowledge.bases()]


def test_a_base_is_made_with_the_sizes_given(client: app.Client) -> None:
    page = opened()
    page.text_input[0].set_value("手册")
    page.number_input[0].set_value(300)
    page.number_input[1].set_value(50)
    click(page, "Create")
    made = client.knowledge.base("手册")
    assert (made.chunk_size, made.chunk_overlap) == (300, 50)


def test_a_bad_name_is_one_line_and_the_page_goes_on(base: str) -> None:
    page = opened()
    page.text_input[0].set_value("a/b")
    click(page, "Create")
    assert not page.exception
    assert len(page.error) == 1 and "a/b" in page.error[0].value
    assert len(page.dataframe) == 1  # the documents are still there


def test_documents_are_listed(base: str) -> None:
    page = opened()
    assert page.dataframe[0].value["document"].tolist() == ["garden <b>.md"]


def test_an_upload_is_indexed(base: str, client: app.Client) -> None:
    page = opened()
    page.file_uploader[0].upload("tools.txt", b"Spades can be borrowed.", "text/plain").run()
    click(page, "Index")
    assert not page.exception
    assert "tools.txt" in [info.name for info in client.knowledge.documents(base)]
    assert "1 indexed" in page.success[0].value


def test_an_unreadable_upload_says_why(base: str) -> None:
    page = opened()
    page.file_uploader[0].upload("empty.txt", b" ", "text/plain").run()
    click(page, "Index")
    assert not page.exception and "white space" in page.warning[0].value


def test_a_document_is_removed(base: str, client: app.Client) -> None:
    click(opened(), "Remove")
    assert client.knowledge.documents(base) == []


def test_deleting_a_base_takes_two_clicks(base: str, client: app.Client) -> None:
    page = click(opened(), "Delete this knowledge base")
    assert names(client) == [base]
    click(page, "Cancel")
    assert names(client) == [base]
    page = click(click(page, "Delete this knowledge base"), "Yes, delete")
    assert names(client) == [] and not page.exception
