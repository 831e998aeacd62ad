"""The texts of the pages in Chinese and English, and which of the two this session reads."""

from __future__ import annotations

import streamlit as st

from rwkv_rag.types import Language
from rwkv_rag.ui import engine

LANGUAGES: dict[str, Language] = {"English": "en", "中文": "zh"}

CHINESE = {
    "Chat": "问答",
    "Knowledge": "知识库",
    "Ask your documents": "向你的文档提问",
    "“Quotes only” answers are word for word. Nothing leaves this machine.": (
        "“只引原文”的回答都逐字出自你的文档，数据不离开本机。"
    ),
    "Knowledge base": "知识库",
    "Answers": "回答方式",
    "Quotes only": "只引原文",
    "Free": "自由回答",
    "Quotes only: the exact words of your documents. Free: the model writes.": (
        "“只引原文”逐字引用文档；“自由回答”由模型撰写。"
    ),
    "Passages": "检索段数",
    "New chat": "新对话",
    "Your question": "请输入问题",
    "Looking for passages …": "正在检索……",
    "Passages found": "检索到的段落",
    "page {number}": "第 {number} 页",
    "understood as: {query}": "理解为：{query}",
    "{seconds:.1f} s": "{seconds:.1f} 秒",
    "There is no knowledge base yet. Make one on the Knowledge page.": (
        "还没有知识库，请先到“知识库”页新建。"
    ),
    "Documents stay in one directory on this machine.": "文档保存在本机的一个目录中。",
    "New knowledge base": "新建知识库",
    "Name": "名称",
    "Passage length (characters)": "分段长度（字符）",
    "Overlap (characters)": "重叠长度（字符）",
    "Create": "新建",
    "Created {name}.": "已新建 {name}。",
    "Documents": "文档",
    "document": "文档",
    "kind": "类型",
    "characters": "字符数",
    "pages": "页数",
    "passages": "段落数",
    "No documents yet.": "还没有文档。",
    "Add documents": "添加文档",
    "Text, Markdown or PDF files": "文本、Markdown 或 PDF 文件",
    "Index": "建立索引",
    "Indexing …": "正在建立索引……",
    "{indexed} indexed, {unchanged} unchanged, {skipped} skipped.": (
        "已索引 {indexed} 个，未变 {unchanged} 个，跳过 {skipped} 个。"
    ),
    "Skipped {document}: {reason}": "跳过 {document}：{reason}",
    "Remove a document": "移除文档",
    "Remove": "移除",
    "Delete this knowledge base": "删除此知识库",
    "Delete {name} with its {documents} documents? This cannot be undone.": (
        "删除 {name} 及其 {documents} 个文档？此操作不可撤销。"
    ),
    "Yes, delete": "确认删除",
    "Cancel": "取消",
    "Deleted {name}.": "已删除 {name}。",
    "{documents} documents · {chunks} passages · {size}/{overlap} characters": (
        "{documents} 个文档 · {chunks} 个段落 · 每段 {size}/{overlap} 字符"
    ),
}


def language() -> Language:
    """The language this session reads: its own choice, else the one the server was started with."""
    chosen = st.session_state.get("language")
    return LANGUAGES[chosen] if chosen in LANGUAGES else engine.settings().language


def text(message: str, **values: object) -> str:
    """`message` in the session's language with `values` in place."""
    known = CHINESE[message] if language() == "zh" else message
    return known.format(**values)
