"""What our errors say in Chinese. Knows messages by pattern; what it does not know stays English.

The library speaks English; the edges (cli, ui) translate on the way to the user. A value named
`why` in a pattern is itself a message and is translated too; any other is the user's own words.
"""

from __future__ import annotations

import re

from rwkv_rag.errors import RagError
from rwkv_rag.types import Language

CHINESE: tuple[tuple[str, str], ...] = (
    # training rows
    (
        r"(.+) line (\d+): the archive is damaged or cut short",
        "{0} 第 {1} 行：压缩文件已损坏或不完整",
    ),
    (r"(.+?)(?<!,) line (\d+): (?P<why>.+)", "{0} 第 {1} 行：{2}"),
    (r"it is longer than (\d+) MiB", "超过 {0} MiB"),
    (
        r'it has none of "text", "messages" and "question"',
        "没有 text、messages、question 中的任何一个",
    ),
    (
        r'it has more than one of "text", "messages" and "question"',
        "text、messages、question 只能有一个",
    ),
    (
        r'"(.+)" is not a key of such a row; it may have (.+)',
        "这样的行没有 {0} 这个键，可用的是 {1}",
    ),
    (r'"text" does not end with an answer after .+', "text 没有以 Assistant: 后的回答结尾"),
    (r'"messages" is not a list of messages', "messages 不是消息的列表"),
    (r'"messages" does not end with a message of .+', "messages 没有以 assistant 的消息结尾"),
    (r'message (\d+) has no "content" that is a text', "第 {0} 条消息的 content 不是文本"),
    (
        r'the "role" of message (\d+) is (.+), not system, user or assistant',
        "第 {0} 条消息的 role 是 {1}，应为 system、user 或 assistant",
    ),
    (
        r"message (\d+) is the system's; only the first may be",
        "只有第一条消息可以是 system，第 {0} 条不行",
    ),
    (r"message (\d+) is empty", "第 {0} 条消息是空的"),
    (r'"refused" is neither true nor false', "refused 不是 true 或 false"),
    (r'"passages" is not a list', "passages 不是列表"),
    (r"passage (\d+) is neither a text nor .+", "第 {0} 个段落既不是文本，也不是带 text 的对象"),
    (r'"(\w+)" is empty', "{0} 是空的"),
    (
        r"the vocabulary has ([\d,]+) tokens; rows are stored with .+",
        "词表有 {0} 个 token；每个 token 存两字节，最多 65,536 个",
    ),
    (
        r"the vocabulary has ([\d,]+) tokens and the model knows ([\d,]+); .+",
        "词表有 {0} 个 token，模型只有 {1} 个；请用模型自己的词表",
    ),
    (
        r"(.+) is no training data; give a .+",
        "{0} 不是训练数据；请给 .jsonl、.jsonl.xz、.jsonl.gz 或 .bin",
    ),
    (r"(.+) has only bad lines; training needs .+", "{0} 没有一行可用"),
    (r"(.+) holds no row; training needs .+", "{0} 中没有训练数据"),
    (r"(.+) holds no document; nothing can be learned", "{0} 中没有文档，学不到东西"),
    (
        r"(.+) holds the token (\d+) and the model knows ([\d,]+); .+",
        "{0} 中有编号 {1}，而模型只有 {2} 个 token；请用模型自己的词表重新制作",
    ),
    (r"(\S+) is missing; (\S+) needs it: .+", "缺少 {0}，{1} 离不开它；请一并复制，或重新制作"),
    (
        r"(.+) has (\d+) bytes, an odd number, .+",
        "{0} 有 {1} 字节，是奇数，而每个 token 占两字节；请重新制作",
    ),
    (
        r"(.+) begins with (.+), not as an index of tokens; .+",
        "{0} 以 {1} 开头，不是 token 的索引；请给 binidx 的 .bin",
    ),
    (r"(.+) is cut short at (\d+) bytes; .+", "{0} 只有 {1} 字节，不完整；请重新制作"),
    (
        r"(.+) is of version (\d+) with (\w+) tokens; .+",
        "{0} 的版本是 {1}、类型是 {2}；只能读版本 1、类型 uint16",
    ),
    (r"(.+) has (\d+) bytes and should have (\d+); .+", "{0} 有 {1} 字节，应为 {2}；请重新制作"),
    (
        r"(.+) has ([\d,]+) tokens and its index places document (\d+) outside; .+",
        "{0} 有 {1} 个 token，索引却把第 {2} 篇放在外面；文件不完整或索引不配套，请重新制作",
    ),
    (
        r"(.+) has ([\d,]+) bytes for ([\d,]+) tokens; .+",
        "{0} 有 {1} 字节，却有 {2} 个 token；请重新制作",
    ),
    (r"token ids must lie between 0 and (\d+), not (-?\d+)", "编号须在 0 到 {0} 之间，不能是 {1}"),
    (
        r"a batch of (\S+) rows, a context of (\S+) tokens and a held-out share of (\S+) are .+",
        "批大小 {0}、上下文 {1}、留出比例 {2} 不可用；请给至少 1、至少 2、0 到 1 之间",
    ),
    (r"no row has anything to learn; .+", "没有一行有可学的内容；请检查学习范围，或给更多的行"),
    (
        r"(\S+) rows with a share of (\S+) refusals and (\S+) passages cannot be made; .+ to (\d+)",
        "不能生成 {0} 行、拒答比例 {1}、每行 {2} 段；请给至少 1 行、0 到 1 之间、1 到 {3} 段",
    ),
    (
        r"nothing in the knowledge base (.+) makes a question \((\d+) sentences tried\); .+",
        "知识库 {0} 中没有可以出题的句子（试了 {1} 句）；请索引有完整句子的文档，或自己写训练数据",
    ),
    (
        r"there is no name for the tokens of (.+); give OUT after it",
        "没有给 {0} 的输出名称，请写在后面",
    ),
    (
        r"(?!the knowledge base )(.+) exists already; choose another name or delete it",
        "{0} 已经存在，请换一个名称或删除它",
    ),
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
    # arguments of a command
    (r"missing argument '(.+)'", "缺少参数 {0}"),
    (r"missing option '(.+)'", "缺少选项 {0}"),
    (r"missing (?:command|parameter.*)", "缺少子命令或参数"),
    (r"no such option:? '?(-[^' ]+)'?(?:\.? Did you mean .+|\.? \(.+\))?", "没有选项 {0}"),
    (r"no such command '(.+?)'(?:\.? Did you mean .+|\.? \(.+\))?", "没有命令 {0}"),
    (r"got unexpected extra arguments?(?:\(s\))? \((.+)\)", "多余的参数：{0}"),
    (r"option '(.+)' requires an argument", "选项 {0} 需要一个值"),
    (r"option '(.+)' does not take a value", "选项 {0} 不带值"),
    (r"invalid value for '(.+?)': (?P<why>.+)", "{0} 的值不可用：{1}"),
    (r"invalid value: (?P<why>.+)", "值不可用：{0}"),
    (r"(.+) is not one of (.+)", "{0} 不在 {1} 之中"),
    (r"(.+) is not in the range (.+)", "{0} 不在 {1} 范围内"),
    (r"input should be less than or equal to (-?\d+)", "不能大于 {0}"),
    (r"input should be greater than or equal to (-?\d+)", "不能小于 {0}"),
    (r"input should be a valid integer.*", "须为整数"),
    (r"(.+) is not a valid int(?:eger)?", "{0} 不是整数"),
    (r"the language (.+) is not zh or en", "{0} 不是 zh 或 en"),
    (r"RWKV_RAG_LANG is (.+); .+", "RWKV_RAG_LANG 是 {0}，可用的语言是 zh 和 en"),
    (r"the limit is (-?\d+); give a whole number from 1", "上限 {0} 不可用，请给不小于 1 的整数"),
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
    # tuned states and adapters
    (
        r"(.+) is damaged \((.+)\); tune or import it again under another name",
        "{0} 已损坏（{1}），请用另一个名称重新微调或导入",
    ),
    (r"there is nothing tuned at (.+)", "{0} 中没有微调结果"),
    (r"there is no tuned state or adapter (.+); (?P<why>.+)", "没有微调结果 {0}；{1}"),
    (r"there are: (.+)", "已有：{0}"),
    (r"nothing has been tuned yet", "目前还没有微调结果"),
    (
        r"(.+) is no name for a tuned model; use 1 to (\d+) letters.+",
        "{0} 不能用作微调结果的名称；请用 1 至 {1} 个字母（含汉字）、数字或 - _ .，"
        "且以字母或数字开头",
    ),
    (
        r"(.+) was tuned on (.+) \((\w*)\), not on the model in use \((\w*)\); .+",
        "{0} 是在 {1}（{2}）上微调的，不适用于当前模型（{3}）；"
        "请换用那个模型，或在当前模型上重新微调",
    ),
    (
        r"there is something tuned called (.+) already; .+",
        "微调结果 {0} 已经存在，请换一个名称或先删除它",
    ),
    (r"no such adapter file: (.+)", "没有这个适配器文件：{0}"),
    (r"(.+) holds no state \((.+)\); .+", "{0} 不是状态文件（{1}），请重新微调或导入"),
    (r"(.+) holds numbers that are none; .+", "{0} 含有无效数值，请重新微调或导入"),
    (
        r"(.+) is a whole model, not a change of one; .+",
        "{0} 是完整的模型，不是状态或适配器，请把它选作模型",
    ),
    (
        r"the stand-ins cannot write with (.+); .+",
        "替身模型不能使用微调结果 {0}；请去掉它，或换用真正的模型",
    ),
    (r"the stand-ins write without an engine; .+", "替身模型没有引擎，请用 --model 给出模型"),
    (r"(\d+) answers are waiting already; .+", "已有 {0} 个回答在排队，请稍后再问"),
    (r"the program is ending; .+", "程序正在结束，请重新启动后再问"),
    (r"(.+) holds no adapter \((.+)\); .+", "{0} 不是适配器（{1}），请重新微调或导入"),
    (r"(.+) holds no usable numbers in (\S+); .+", "{0} 中的 {1} 含有无效数值，请重新微调或导入"),
    (r"(.+) holds (\S+) as (\S+), not as floats; .+", "{0} 中的 {1} 类型是 {2}，应为浮点数"),
    (
        r"(.+) holds (.+) of (\S+), which is no whole change of it; .+",
        "{0} 中关于 {2} 的部分（{1}）不完整，请重新微调或导入",
    ),
    (
        r"(.+) holds lora_A and lora_B of (\S+) that do not fit together; .+",
        "{0} 中 {1} 的 lora_A 与 lora_B 不匹配，请重新微调或导入",
    ),
    (
        r"the adapter changes (\S+), which the model in use does not have .+",
        "适配器改动 {0}，当前模型没有它或不能改动它；请与微调时的模型一起使用",
    ),
    (
        r"the adapter's (\S+) has shape (.+), which does not fit (\S+) of the model in use with "
        r"(.+); .+",
        "适配器的 {0} 形状是 {1}，与当前模型的 {2}（{3}）不符；请与微调时的模型一起使用",
    ),
    # training rows under the user's hands
    (
        r"the row (.+) has no (?:answer|question|\d+); fill it in or delete the row",
        "{0} 这一行缺少问题或回答；请补上，或删除该行",
    ),
    (r"there is no row left; keep at least one", "没有剩下数据，请至少保留一行"),
    (r"(.+) cannot be written: (?P<why>.+)", "{0} 无法写入：{1}"),
    # importing and exporting them
    (r"(.+) cannot be imported: (?P<why>.+)", "{0} 无法导入：{1}"),
    (r"damaged, cut short, or more than tensors \(.+\)?", "已损坏、不完整，或含有张量以外的内容"),
    (r"holds a (\S+) instead of tensors", "内容是 {0}，不是张量"),
    (r"entry (.+) is a (\S+), not a tensor", "条目 {0} 是 {1}，不是张量"),
    (r"(\S+) holds (\S+), expected floats", "{0} 的类型是 {1}，应为浮点数"),
    (r"(.+) is a whole model; .+", "{0} 是完整的模型，不需要导入，请直接用 --model 指定它"),
    (
        r"(.+) is a Bone adapter from before DiSHA, .+",
        "{0} 是 DiSHA 之前的 Bone 适配器，几种形式无法区分，请用当初训练它的程序合并",
    ),
    (
        r"(.+) holds no tuned state and no adapter that is known here \((.+), …\); .+",
        "{0} 中没有认识的状态或适配器（{1}）；"
        "支持 time_state、LoRA、PiSSA、DiSHA、MiSS 和 peft 目录",
    ),
    (
        r"(.+) does not exist; give a file, or a folder of peft's",
        "{0} 不存在，请给文件或 peft 目录",
    ),
    (
        r"(.+) is no config of peft \(.+\); check the folder",
        "{0} 不是 peft 的配置文件，请检查该目录",
    ),
    (r"(.+) uses (\w+), which cannot be imported; .+", "{0} 用了 {1}，无法导入，请用 peft 合并"),
    (r"(.+) holds values that are no numbers; .+", "{0} 含有无效数值，请重新下载"),
    (
        r"(.+) is a PiSSA adapter, of use only with its first pairs; .+",
        "{0} 是 PiSSA 适配器，还需要它的初始值，请用 --init 给出那个文件",
    ),
    (
        r"(.+) began as (.+), which changed the base; .+",
        "{0} 以 {1} 起步，改动过基座，请用 peft 合并",
    ),
    (
        r"(.+) is a LoRA that does not say its alpha; .+",
        "{0} 是 LoRA，但没有写明 alpha，请用 --alpha 给出训练时的值（多为 32）",
    ),
    (
        r"(.+) has the first pairs of (\d+) matrices and (.+) changes (\d+); .+",
        "{0} 有 {1} 个矩阵的初始值，而 {2} 改动 {3} 个；请用 --init 给出同一次训练的文件",
    ),
    (
        r"(.+) has (\S+) as (.+) and (.+) as (.+); give the file of the same training .+",
        "{1} 在 {0} 中是 {2}，在 {3} 中是 {4}；请用 --init 给出同一次训练的文件",
    ),
    (
        r"(.+) is a MiSS adapter of the mode bat, .+",
        "{0} 是 bat 模式的 MiSS 适配器，请用 peft 合并",
    ),
    (
        r"the adapter's (\S+) has shape (.+), which does not fit (.+) of the model; .+",
        "适配器的 {0} 形状是 {1}，与模型的 {2} 不符；请与微调时的模型一起使用",
    ),
    (
        r"the adapter changes (\S+), which the model does not have; .+",
        "适配器改动 {0}，模型没有它；请与微调时的模型一起使用",
    ),
    (
        r"(.+) has only a part of the pair for (\S+); .+",
        "{0} 中 {1} 的 A、B 不完整，请重新获取文件",
    ),
    (
        r"the adapter comes with (\S+) as (.+), which the model has as (.+); .+",
        "适配器带有 {0}，形状是 {1}，与模型的（{2}）不符；请与微调时的模型一起使用",
    ),
    (
        r"the tuned state has (\d+) layers, the model (\d+); .+",
        "状态有 {0} 层，模型有 {1} 层；请与微调时的模型一起使用",
    ),
    (
        r"(\S+time_state) is (.+), the model needs (.+); .+",
        "{0} 的形状是 {1}，模型需要 {2}；请与微调时的模型一起使用",
    ),
    (r"(.+) says no form that is known; .+", "{0} 的格式不明；请以 .safetensors 或 .pth 结尾"),
    (r"(.+) is a whole model already; export it", "{0} 已经是完整的模型，请直接导出"),
    (r"(.+) must end in \.safetensors, .+", "{0} 须以 .safetensors 结尾"),
    (r"(.+) exists already; choose another name", "{0} 已经存在，请换一个名称"),
    (r"(.+) is another model's vocabulary; .+", "{0} 是另一个模型的词表，请换一个目录"),
    (
        r"the adapter changes (\S+) by itself, which only our own file can say; .+",
        "适配器直接改动 {0}，只有 .safetensors 能保存；请这样导出，或合并",
    ),
    (
        r"the adapter has ranks from (\d+) to (\d+), which only our own file can say; .+",
        "适配器的秩从 {0} 到 {1} 不等，只有 .safetensors 能保存；请这样导出，或合并",
    ),
    (r"(.+) cannot be written: (?P<why>.+)", "{0} 无法写入：{1}"),
    # what tuning methods need
    (r"there is no tuning method (.+); choose one of (.+)", "没有微调方法 {0}；可选：{1}"),
    (
        r"tuning adapters needs peft, which is not installed: (pip install .+)",
        "微调适配器需要 peft，请安装：{0}",
    ),
    (
        r"quantization needs bitsandbytes, which is not installed: (pip install .+)",
        "量化需要 bitsandbytes，请安装：{0}",
    ),
    (
        r"quantization is (.+), which needs a GPU.+",
        "量化方式 {0} 需要 GPU；请不要量化，精度用 bf16",
    ),
    (
        r"quantization is (.+), and (?:PiSSA|full tuning) .+, which needs them whole; .+",
        "这种方法要用未量化的权重，不能与量化方式 {0} 同用；请改用 lora，或不量化",
    ),
    (
        r"rank is (\d+), and the model's smallest matrix allows (\d+); .+",
        "秩 {0} 太大，模型最小的矩阵只允许 {1}",
    ),
    (r"the checkpoint lacks the start of (\S+); .+", "存档中缺少 {0} 的初始值，请重新开始任务"),
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
    (r"the disk is full: (.+) cannot grow; .+", "磁盘已满：{0} 无法写入，请腾出空间"),
    (
        r".+: process (\S+) is changing this library; .+",
        "进程 {0} 正在修改知识库，请等它结束后再试",
    ),
    (r"another process is writing to (.+); .+", "另一个进程正在写入 {0}，请稍后再试"),
    # models and parts
    (r"the model is empty; .+", "模型名为空；请给模型文件的路径，或 builtin"),
    (r"no such model file: (.+)", "没有这个模型文件：{0}"),
    (r"no vocabulary file at (.+)", "没有词表文件：{0}"),
    (r"(.+) is not a vocabulary file: .+", "{0} 不是词表文件"),
    (
        r"(.+), line (\d+): not an entry of a World vocabulary: .+",
        "{0} 第 {1} 行不是 World 词表的条目",
    ),
    (
        r"the vocabulary lacks (\d+) of the 256 single bytes .+",
        "词表缺少 {0} 个单字节，请用 World 词表",
    ),
    (
        r"(.+) knows ([\d,]+) tokens and the vocabulary has ([\d,]+); .+",
        "{0} 有 {1} 个 token，词表却有 {2} 个；请把模型自己的词表存为同目录下的 vocab.txt",
    ),
    (
        r"the model knows (\d+) tokens and its tokenizer (\d+); .+",
        "模型有 {0} 个 token，词表却有 {1} 个；请用模型自己的词表",
    ),
    (
        r"the stand-ins have no speed to measure; .+",
        "替身模型没有速度可测，请用 --model 给出模型文件",
    ),
    (r"(.+): vocabulary and model do not belong together", "{0} 中的词表与模型不配套"),
    (r"the model lacks heads\.(.+); .+", "模型没有 heads.{0}，不能担任这个角色"),
    (r"the pages need Streamlit.*: (pip install .+)", "网页界面需要 Streamlit，请安装：{0}"),
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
    # why a file is no model
    (r"this is an (.+) \(x060\) model; .+", "这是 {0}（x060）模型，后续版本支持"),
    (
        r"this is an (.+) model, which cannot be run; .+",
        "这是 {0} 模型，不能运行；请给 RWKV-7（x070）模型",
    ),
    (r"this file holds (?P<why>.+)", "其中是{0}"),
    (r"EmbeddingRWKV weights; .+", "EmbeddingRWKV 权重，后续版本支持"),
    (r"a tuned state; .+", "微调得到的状态，请给模型本身"),
    (r"an adapter, not a model; .+", "适配器，请给合并后的模型"),
    (
        r"a model in Hugging Face layout; .+",
        "Hugging Face 格式的模型，请给官方格式的 RWKV-7（.pth）",
    ),
    (r"no RWKV model: (\d+) tensors .+", "{0} 个张量，不是 RWKV 模型；请给 RWKV-7（x070）模型"),
    (
        r"(\d+) unknown tensors \((.+), …\): .+",
        "有 {0} 个不认识的张量（{1}），不是普通的 RWKV-7 模型",
    ),
    (r"tensor (\S+) is missing: .+", "缺少张量 {0}，文件不完整，请重新下载"),
    (r"tensor (\S+) has shape (.+), expected (?:a matrix|(.+))", "张量 {0} 的形状 {1} 不对"),
    (r"tensor (\S+) holds (.+), expected floats", "张量 {0} 的类型是 {1}，应为浮点数"),
    (r"int8 tensor (\S+) needs .+", "int8 张量 {0} 缺少与行数相同的 scale"),
    (r"heads of (\d+) channels; only (\d+) can be run", "头宽 {0} 不能运行，只支持 {1}"),
    (r"(?P<why>.+), not a model; .+", "{0}，不是模型；请给 RWKV-7（x070）的 .pth 或 .safetensors"),
    (r"an empty file", "空文件"),
    (r"a (GGUF) file of (llama\.cpp)", "{1} 的 {0} 文件"),
    (r"a file of (rwkv\.cpp)", "{0} 的文件"),
    (r"a file that begins with (.+)", "以 {0} 开头的文件"),
    (r"not a file but a directory; .+", "是目录；请给 RWKV-7（x070）的 .pth 或 .safetensors"),
    (r"damaged or cut short .+", "已损坏或不完整，请重新下载"),
    (
        r"damaged, cut short, or more than tensors .+",
        "已损坏、不完整，或含有张量以外的内容；请给 RWKV-7（x070）的 .pth 或 .safetensors",
    ),
    (r"holds a (\S+) instead of tensors; .+", "内容是 {0}，不是张量；请给 RWKV-7（x070）模型"),
    (
        r"entry (.+) is a (\S+), not a tensor; .+",
        "条目 {0} 是 {1}，不是张量；请给 RWKV-7（x070）模型",
    ),
    # jobs of fine-tuning
    (r"(\S+) cannot be read \((.+)\); start a new job", "{0} 无法读取（{1}），请新建任务"),
    (
        r"(.+) cannot be written \((?P<why>.+)\); the last checkpoint is kept: .+",
        "{0} 无法写入（{1}）；最近的检查点仍在，请腾出空间后继续任务",
    ),
    (
        r"the checkpoint of step (\d+) could not be written \((?P<why>.+)\); the one .+",
        "第 {0} 步的检查点无法写入（{1}）；上一个检查点仍在，请腾出空间后继续任务",
    ),
    (
        r"the checkpoint of step (\d+) could not be written \((?P<why>.+)\); there is none .+",
        "第 {0} 步的检查点无法写入（{1}），此前也没有检查点；请腾出空间后继续任务",
    ),
    (r"(.+) cannot be written \((?P<why>.+)\); check --home", "{0} 无法写入（{1}），请检查 --home"),
    (
        r"(.+) does not fit this training run \(.+\); .+",
        "{0} 不属于这次训练；请换一个目录，或删除它重新开始",
    ),
    (r"(.+) holds no row; .+", "{0} 中没有数据，至少要有一行"),
    (r"(\S+) is (.+); choose one of (.+)", "{0} 是 {1}，请从 {2} 中选择"),
    (r"(\S+) is (.+); give a number above 0", "{0} 是 {1}，请给大于 0 的数"),
    (
        r"(\S+) is (.+); give a (?:whole )?number from (\S+) to (\S+)",
        "{0} 是 {1}，应在 {2} 到 {3} 之间",
    ),
    (r"an unexpected error \((.+)\); the log says more", "出现意外错误（{0}），详见任务的输出"),
    (
        r"chunk is (\d+), but only the first segment .+",
        "chunk 是 {0}，但 state 方法训练的是每行开头的状态，只有第一段能影响它；"
        "请把 chunk 设为 0，或选别的方法",
    ),
    (r"chunk is 1; .+", "chunk 是 1；请给 0（切开长行），或不小于 2 的段长"),
    (r"devices? is (.+), but (\d+) GPUs are here; .+", "设备 {0} 不可用：本机只有 {1} 块 GPU"),
    (
        r"device is (.+), but torch finds no GPU here; .+",
        "设备 {0} 不可用：本机没有 GPU，请选 cpu 或 auto",
    ),
    (r"device is (.+); choose auto, cpu or cuda", "设备是 {0}，请选 auto、cpu 或 cuda"),
    (r"fine-tuning needs (.+); install it with: (.+)", "微调需要 {0}，请安装：{1}"),
    (r"job (\S+) could not be started: (?P<why>.+)", "任务 {0} 无法启动：{1}"),
    (r"job (\S+) does not run: it is (?P<why>.+)", "任务 {0} 没有在运行：{1}"),
    (r"job (\S+) failed: (?P<why>.+)", "任务 {0} 失败：{1}"),
    (r"job (\S+) is done; .+", "任务 {0} 已完成；要继续训练请新建任务"),
    (r"job (\S+) is making (.+) already; .+", "任务 {0} 正在生成 {1}；请换一个名称，或先停止它"),
    (r"job (\S+) runs already(?:: it is (?P<why>.+))?", "任务 {0} 已经在运行{1}"),
    (r"waiting", "等待中"),
    (r"running", "运行中"),
    (r"stopped", "已停止"),
    (r"interrupted", "被中断"),
    (r"failed", "失败"),
    (r"done", "已完成"),
    (
        r"lr_final is (.+), above lr \((.+)\); .+",
        "最终学习率 {0} 大于起始学习率 {1}，请给更小的值",
    ),
    (r"parts is (.+); choose from (.+)", "parts 是 {0}，请从 {1} 中选择"),
    (
        r"precision is 'bf16', too coarse .+",
        "精度 bf16 太粗，full 方法对权重的微小改动会丢失；请选 auto 或 fp32",
    ),
    (
        r"quantization is (.+), but the method full .+",
        "量化 {0} 不能与 full 方法同用：它训练权重本身；请选 lora 或 state，或不量化",
    ),
    (r"quantization is (.+), which needs a GPU; .+", "量化 {0} 需要 GPU，请选 none"),
    (r"several jobs begin with (.+): (.+); .+", "有几个任务以 {0} 开头：{1}；请多给一个字符"),
    (r"strategy is (.+) with one device; .+", "策略 {0} 需要多个设备；请增加设备数，或选 auto"),
    (r"strategy is (.+), which needs DeepSpeed; .+", "策略 {0} 需要 DeepSpeed，请用 pip 安装它"),
    (r"strategy is (.+), which needs GPUs; .+", "策略 {0} 需要 GPU，请选 ddp 或 auto"),
    (
        r"strategy is (.+), which takes one backward pass a step; .+",
        "策略 {0} 每步只能反向一次；请把 accumulate 设为 1、chunk 设为 0，或选 fsdp",
    ),
    (r"there is no job (.+); none has been started yet", "没有任务 {0}；还没有启动过任务"),
    (r"there is no job (.+); there are: (.+)", "没有任务 {0}；已有：{1}"),
    (
        r"there was not enough memory \((.+)\); .+",
        "内存不足（{0}）；请减小 batch、缩短 context 或打开 checkpointing 后重新开始",
    ),
    (
        r"this fine-tuning needs (.+) of memory and (.+) are free; close .+",
        "这次微调需要内存 {0}，可用 {1}；请关闭其他程序，或选更小的模型",
    ),
    (
        r"this fine-tuning needs (.+) of memory and (.+) are free; what would fit: (.+)",
        "这次微调需要内存 {0}，可用 {1}；以下设置可以放下：{2}",
    ),
    (
        r"wandb is not installed; install it with: (.+), or .+",
        "没有安装 wandb，请安装：{0}，或关闭 wandb",
    ),
    (
        r"the (?:loss|gradient) is (\S+) at step (\d+); .+: start again with a lower lr than (.+)",
        "第 {1} 步的损失或梯度是 {0}，训练已停止，最近的检查点仍在；请用小于 {2} 的学习率重新开始",
    ),
    # what the operating system says
    (r"Permission denied", "没有权限"),
    (r"No such file or directory", "没有这个文件或目录"),
    (r"Is a directory", "这是目录"),
    (r"Not a directory", "不是目录"),
    (r"Too many levels of symbolic links", "符号链接成环"),
    (r"File name too long", "文件名太长"),
    (r"Read-only file system", "文件系统只读"),
    (r"No space left on device", "磁盘已满"),
    (r"Input/output error", "读写出错"),
    (r"Too many open files", "打开的文件太多"),
    (r"Operation not permitted", "操作不被允许"),
    # a file's name and what is wrong with it; last, since it fits so much
    (r"([^:]+): (?P<why>.+)", "{0}：{1}"),
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
                return chinese.format(*_values(match))
    return message


def _values(match: re.Match[str]) -> list[str]:
    why = match.re.groupindex.get("why", 0)
    return [
        explain_reason(value or "", "zh") if number == why else value or ""
        for number, value in enumerate(match.groups(), start=1)
    ]
