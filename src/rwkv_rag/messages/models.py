"""Models, tuned states and adapters, and files that are none, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # tuned states and adapters
    (r"(.+) cannot be removed \((?P<why>.+)\)", "{0} 无法删除（{1}）"),
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
    (r"(.+) holds no state \((?P<why>.+)\); .+", "{0} 不是状态文件（{1}），请重新微调或导入"),
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
    (r"(.+) holds no adapter \(.+\); .+", "{0} 不是适配器，或已损坏，请重新微调或导入"),
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
    (
        r"(.+) says no form that is known; .+",
        "{0} 的格式不明；请以 .safetensors 或 .pth 结尾，适配器也可以给名称中没有后缀的目录",
    ),
    (r"(.+) is not there to write into; .+", "目录 {0} 不存在，请先建立"),
    (r"(.+) is missing; tune or import it again", "缺少 {0}，请重新微调或导入"),
    (r"(.+) is the name of a model that is here; .+", "{0} 是已有模型的名称，请换一个"),
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
    # why a file is no model
    (r"this is an (.+) \(x060\) model; .+", "这是 {0}（x060）模型，后续版本支持"),
    (
        r"this is an (.+) model, which cannot be run; .+",
        "这是 {0} 模型，不能运行；请给 RWKV-7（x070）模型",
    ),
    (r"this file holds (?P<why>.+)", "其中是{0}"),
    (r"EmbeddingRWKV weights; .+", "EmbeddingRWKV 权重，后续版本支持"),
    (r"a tuned state; .+", "微调得到的状态，请给模型本身"),
    (r"an adapter; .+", "适配器，请给合并后的模型"),
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
    (r"(?P<why>[^;]+), not a model", "{0}"),
    (
        r"(?P<why>.+), not a model; .+",
        "{0}，不是模型；请给 RWKV-7（x070）的 .pth 或 .safetensors",
    ),
    (r"an empty file", "空文件"),
    (r"a (GGUF) file of (llama\.cpp)", "{1} 的 {0} 文件"),
    (r"a file of (rwkv\.cpp)", "{0} 的文件"),
    (r"a file that begins with (.+)", "以 {0} 开头的文件"),
    (r"not a file but a device or a pipe; .+", "是设备或管道，不是文件；请给模型文件"),
    (r"not a file but a directory; .+", "是目录；请给 RWKV-7（x070）的 .pth 或 .safetensors"),
    (r"damaged or cut short \([^;]+\)", "已损坏或不完整"),
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
)
