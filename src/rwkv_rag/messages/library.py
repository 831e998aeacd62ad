"""Knowledge bases, documents and where they are kept, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
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
        r"the knowledge base '?(.+?)'? was made with chunk size (\d+) and overlap (\d+); .+",
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
    (r"(.+) is not a regular file .+", "{0} 不是普通文件（而是管道或设备）"),
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
    (r"(.+) cannot be read: (?P<why>.+)", "{0} 无法读取：{1}"),
    (
        r"found nothing to index; readable are (.+) files",
        "没有可以索引的文件；支持 .txt、.md 和 .pdf",
    ),
    # the data directory
    (r"the home (.+) is not a directory; .+", "{0} 不是目录，请用 --home 另选"),
    (
        r"(.+) cannot be used as the data directory \((?P<why>.+)\); .+",
        "{0} 不能用作数据目录（{1}），请用 --home 另选",
    ),
    (
        r"(.+) was written by an older version of rwkv-rag and cannot .+",
        "{0} 由旧版本的 rwkv-rag 写成，升级需要写入，请先让它可写一次",
    ),
    (r"(.+) is a directory, not a database; .+", "{0} 是目录，不是数据库；请移走或另选 --home"),
    (r"(.+) is no path \(.+\); check --home", "{0} 不是可用的路径，请检查 --home"),
    (r"(.+) belongs to another program; .+", "{0} 属于别的程序，请另选数据目录或将它移走"),
    (
        r"(.+) was written by a newer version of rwkv-rag .+",
        "{0} 由更新版本的 rwkv-rag 写成，请升级 rwkv-rag 或另选数据目录",
    ),
    (
        r"the vector index in (.+?) cannot be used .+",
        "{0} 中的向量索引不可用；它可以重建：删除该目录后会重新生成",
    ),
    (
        r"this Python's SQLite lacks FTS5; .+",
        "当前 Python 的 SQLite 没有 FTS5，请换用带 FTS5 的 Python",
    ),
    (r"no manifest at (.+); .+", "缺少 {0}，请重新安装 rwkv-rag"),
    (r"(.+) is damaged \(.+\); install rwkv-rag again", "{0} 已损坏，请重新安装 rwkv-rag"),
    (
        r"(.+) cannot be opened for writing \((?P<why>.+)\); .+",
        "{0} 无法写入（{1}），请检查权限，或用 --home 另选数据目录",
    ),
    (r"(.+) cannot be opened for writing; .+", "{0} 无法写入，请检查权限"),
    (r"(.+) is damaged \((.+)\); .+", "{0} 已损坏（{1}）；请从备份恢复，或移走后重新索引文档"),
    (
        r"the disk refuses (.+) \((.+)\), most often because it is full; .+",
        "磁盘无法读写 {0}（{1}），多半是已满；请腾出空间后再试",
    ),
    (r"the disk is full: (.+) cannot grow; .+", "磁盘已满：{0} 无法写入，请腾出空间"),
    (
        r".+: process (\S+) is changing this library; .+",
        "进程 {0} 正在修改知识库，请等它结束后再试",
    ),
    (r"another process is writing to (.+); .+", "另一个进程正在写入 {0}，请稍后再试"),
    # what checking a base finds
    (r"(\d+) chunks differ from their document", "{0} 个段落与文档不符"),
    (r"(\d+) chunks differ from their embedded text", "{0} 个段落与其向量对应的文本不符"),
    (r"(\d+) chunks are missing from the lexical index", "全文索引缺少 {0} 个段落"),
    (r"(\d+) lexical entries have no chunk", "全文索引中有 {0} 项没有对应的段落"),
    (r"(\d+) chunks have no usable embedding", "{0} 个段落没有可用的向量"),
    (r"the vector index lacks vectors of (\d+) chunks", "向量索引缺少 {0} 个段落"),
    (r"the vector index has vectors of (\d+) chunks", "向量索引多出 {0} 个段落"),
    (r"the vector index was not checked: .+", "向量索引没有检查：另一个进程正在使用，或只能读取"),
    (
        r"the stored documents of (.+) are damaged; .+",
        "{0} 中存储的文档已损坏，请删除它并重新索引文档",
    ),
)
