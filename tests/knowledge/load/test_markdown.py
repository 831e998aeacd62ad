from __future__ import annotations

from rwkv_rag.knowledge.load.markdown import read

SOURCE = "---\ntitle: 说明\n---\n# 质保\n\n* 两年 **免费**\n\n```sh\n# no heading\n```\n"


def test_markdown_is_kept_as_written() -> None:
    parsed = read(SOURCE.replace("\n", "\r\n").encode("gbk"), "a.md")
    assert parsed.text == SOURCE
    assert parsed.media_type == "text/markdown"
