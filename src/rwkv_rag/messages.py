"""What our errors say in Chinese. Knows messages by pattern; what it does not know stays English.

The library speaks English; the edges (cli, ui) translate on the way to the user.
"""

from __future__ import annotations

import re

from rwkv_rag.errors import RagError
from rwkv_rag.types import Language

CHINESE: tuple[tuple[str, str], ...] = (
    # questions
    (r"the question is empty; type .+", "问题是空的，请输入问题"),
    (
        r"the question has ([\d,]+) characters; the limit is ([\d,]+): .+",
        "问题有 {0} 个字符，上限是 {1}；请缩短问题，或把长文作为文档索引",
    ),
    (r"top.k (?:is|must be).*?(-?\d+)(?:; .+)?", "检索段数 {0} 不可用，请给 1 到 100 的整数"),
    # knowledge bases
    (r"there is no knowledge base (.*); there are: (.+)", "没有知识库 {0}；已有：{1}"),
    (r"there is no knowledge base (.*); there is none yet; .+", "没有知识库 {0}；请先索引文档"),
    (r"the knowledge base (.+) exists already; .+", "知识库 {0} 已经存在，请换一个名称或先删除它"),
    (r"the knowledge base (.+) has no document (.+)", "知识库 {0} 中没有文档 {1}"),
    (
        r"(.+) is no name for a knowledge base; use 1 to (\d+) letters .+",
        "{0} 不能用作知识库名称；请用 1 至 {1} 个字母（含汉字）、数字或 - _ .，且不以 - 或 . 开头",
    ),
    (
        r"the knowledge base '(.+)' was made with chunk size (\d+) and overlap (\d+); .+",
        "知识库 {0} 建立时的段长是 {1}、重叠是 {2}；请去掉这两个选项，或换一个知识库",
    ),
    (r"chunk size (.+) is not between (\d+) and (\d+) characters", "段长 {0} 不在 {1} 到 {2} 之间"),
    (
        r"chunk overlap (.+) is not between 0 and .+ \((\d+)\)",
        "重叠 {0} 不在 0 与段长 {1} 的一半之间",
    ),
    (
        r"the knowledge base (.+) was made with the embedding model (.+) \(\d+ numbers\), "
        r"and now (.+) \(\d+\) is in use; .+",
        "知识库 {0} 是用向量模型 {1} 建立的，而现在用的是 {2}；"
        "请换回原来的模型，或重新索引到新的知识库",
    ),
    # files
    (r"(.+) does not exist; check the path", "{0} 不存在，请检查路径"),
    (r"(.+) is empty", "{0} 是空文件"),
    (r"(.+) contains only white space", "{0} 只有空白字符"),
    (r"(.+) is a binary file, not text", "{0} 是二进制文件，不是文本"),
    (r"(.+) is marked as (.+) but is damaged", "{0} 标明是 {1} 编码，但内容已损坏"),
    (r"(.+) is a directory, not a document", "{0} 是目录，不是文档"),
    (r"(.+) is encrypted; .+", "{0} 有密码，请去掉密码后再试"),
    (r"(.+) is damaged: it cannot be opened as a PDF", "{0} 已损坏，无法作为 PDF 打开"),
    (r"(.+) is damaged: page (\d+) cannot be read", "{0} 已损坏：第 {1} 页无法读取"),
    (
        r"(.+) is scanned: none of its (\d+) pages has a text layer; .+",
        "{0} 是扫描件：{1} 页都没有文字层，需要 OCR，后续版本提供",
    ),
    (
        r"(\d+) of (\d+) pages have no text \(page (.+)\): .+",
        "{1} 页中有 {0} 页没有文字（第 {2} 页）：扫描件，需要 OCR，后续版本提供",
    ),
    (
        r"(.+) has ([\d,]+) characters; the limit is ([\d,]+): split it",
        "{0} 有 {1} 个字符，上限是 {2}，请拆分",
    ),
    (r"(.+) has (\d+) pages; the limit is (\d+): split it", "{0} 有 {1} 页，上限是 {2}，请拆分"),
    (r"(.+) is (\d+) MiB; the limit is (\d+) MiB", "{0} 有 {1} MiB，上限是 {2} MiB"),
    (
        r"(.+): files of type (.*) cannot be read; supported are (.+)",
        "{0}：不支持 {1} 文件，支持的有 {2}",
    ),
    (r"(.+) cannot be read: (.+)", "{0} 无法读取：{1}"),
    (
        r"found nothing to index; readable are (.+) files",
        "没有可以索引的文件；支持 .txt、.md 和 .pdf",
    ),
    # the data directory
    (r"the home (.+) is not a directory; .+", "{0} 不是目录，请用 --home 另选"),
    (
        r"(.+) cannot be used as the data directory \((.+)\); .+",
        "{0} 不能用作数据目录（{1}），请用 --home 另选",
    ),
    (r"(.+) cannot be opened for writing; .+", "{0} 无法写入，请检查权限"),
    (r"(.+) is damaged \((.+)\); .+", "{0} 已损坏（{1}）；请从备份恢复，或移走后重新索引文档"),
    (r"the disk is full: (.+) cannot grow; .+", "磁盘已满：{0} 无法写入，请腾出空间"),
    (
        r".+: process (\S+) is changing this library; .+",
        "进程 {0} 正在修改知识库，请等它结束后再试",
    ),
    (r"another process is writing to (.+); .+", "另一个进程正在写入 {0}，请稍后再试"),
    # models and parts
    (r"no such model file: (.+)", "没有这个模型文件：{0}"),
    (r"(.+): this is an (.+) \(x060\) model; .+", "{0} 是 {1}（x060）模型，后续版本支持"),
    (
        r"(.+): this is an (.+) model, which cannot be run; .+",
        "{0} 是 {1} 模型，不能运行；请给 RWKV-7（x070）模型",
    ),
    (
        r"(.+): (.+); give an RWKV-7 \(x070\) model .+",
        "{0} 不能用作模型（{1}）；请给 RWKV-7（x070）的 .pth 或 .safetensors",
    ),
    (r"the pages need Streamlit.*: (pip install .+)", "网页界面需要 Streamlit，请安装：{0}"),
    # evaluation
    (r"cannot read (.+): (.+)", "无法读取 {0}：{1}"),
    (r"(.+) holds no question; .+", "{0} 中没有问题；请给每行一个问题的 .jsonl 文件"),
    (r"(.+), line (\d+): (.+)", "{0} 第 {1} 行：{2}"),
    # what indexing met
    (r"(.+) is not a regular file .+", "{0} 不是普通文件（是管道或设备），只能读取文件"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), chinese) for pattern, chinese in CHINESE)


def explain(error: RagError, language: Language) -> str:
    """The error's message on one line, in `language` where we know it."""
    return explain_reason(str(error), language)


def explain_reason(message: str, language: Language) -> str:
    """A message of ours on one line, in `language` where we know it."""
    message = " ".join(message.split())
    if language == "zh":
        for pattern, chinese in _PATTERNS:
            if match := pattern.fullmatch(message):
                return chinese.format(*(group or "" for group in match.groups()))
    return message
