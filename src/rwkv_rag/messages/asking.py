"""Questions, and files of questions, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # questions
    (r"the question is empty; type .+", "问题是空的，请输入问题"),
    (
        r"the question has ([\d,]+) characters; the limit is ([\d,]+): .+",
        "问题有 {0} 个字符，上限是 {1}；请缩短问题，或把长文作为文档索引",
    ),
    (r"top.k (?:is|must be).*?(-?\d+)(?:; .+)?", "检索段数 {0} 不可用，请给 1 到 100 的整数"),
    (
        r"the question takes (\d+) tokens, too many for a prompt of (\d+); .+",
        "问题有 {0} 个 token，提示词最多 {1} 个，请缩短问题",
    ),
    # evaluation
    (r"cannot read (.+?): (?P<why>.+)", "无法读取 {0}：{1}"),
    (r"(.+) holds no question; .+", "{0} 中没有问题；请给每行一个问题的 .jsonl 文件"),
    (r"there is no question to evaluate", "没有可以评测的问题"),
    (r"(.+), line (\d+): (?P<why>.+)", "{0} 第 {1} 行：{2}"),
    (r"it is not an object", "不是 JSON 对象"),
    (r"it is not JSON .+", "不是 JSON"),
    (r"it is not UTF-8 text .+", "不是 UTF-8 文本"),
    (r"it is no xz file.*", "不是 xz 文件，或已损坏"),
    (r"it is longer than ([\d,]+) characters", "超过 {0} 个字符"),
    (r'"(.+)" is missing or not a text', "缺少 {0}，或不是文本"),
    (r'"(.+)" is missing or not a list of texts', "缺少 {0}，或不是文本的列表"),
    (r'"(.+)" is missing or neither true nor false', "缺少 {0}，或不是 true、false"),
    (r'"(.+)" is empty although the question is answerable', "问题可答，{0} 却是空的"),
    (r'"(.+)" is empty', "{0} 是空的"),
    (r'"lang" is (.+), not "zh" or "en"', "lang 是 {0}，不是 zh 或 en"),
)
