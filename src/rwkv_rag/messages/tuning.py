"""Training rows, tuning methods and jobs, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # first, for the reason in it would fit other lines
    (r"job (\S+) could not be started: (?P<why>.+)", "任务 {0} 无法启动：{1}"),
    (r"job (\S+) failed: (?P<why>.+)", "任务 {0} 失败：{1}"),
    (
        r"(.+) is damaged \((.+)\); tune or import it again",
        "{0} 已损坏，请重新微调或导入",
    ),
    # training rows
    (
        r"(.+) line (\d+): the archive is damaged or cut short",
        "{0} 第 {1} 行：压缩文件已损坏或不完整",
    ),
    (
        r"(.+?)(?<!,) line (\d+): (?P<why>.+); correct it, or leave bad lines out .+",
        "{0} 第 {1} 行：{2}；请改正，或用 --skip-bad 略过坏行",
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
        r"(.+) is not the file that this job began with; .+",
        "{0} 不是这个任务开始时用的文件；请放回原来的文件，或新建一个任务",
    ),
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
    (r"(.+) is missing; (.+) needs it: .+", "缺少 {0}，{1} 离不开它；请一并复制，或重新制作"),
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
    # training rows under the user's hands
    (
        r"the row (.+) has no (?:answer|question|\d+); fill it in or delete the row",
        "{0} 这一行缺少问题或回答；请补上，或删除该行",
    ),
    (r"there is no row left; keep at least one", "没有剩下数据，请至少保留一行"),
    (r"(.+) cannot be written: (?P<why>.+)", "{0} 无法写入：{1}"),
    (
        r"(.+) says an alpha of (.+); get the folder again",
        "{0} 写的 alpha 是 {1}，请重新获取该目录",
    ),
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
    # jobs of fine-tuning
    (r"(.+) cannot be read \((.+)\); start a new job", "{0} 无法读取（{1}），请新建任务"),
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
    (
        r"(\S+) is (.+); give a number above 0 and up to (\d+)",
        "{0} 是 {1}，请给大于 0、不超过 {2} 的数",
    ),
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
    (
        r"nodes is (\d+), but MASTER_ADDR, .+",
        "nodes 是 {0}，但没有设置 MASTER_ADDR、MASTER_PORT 和 NODE_RANK=0；"
        "请设置它们以便各台机器会合，或把 nodes 设为 1",
    ),
    (
        r"devices is (.+), but (\d+) processor cores are here; .+",
        "devices 是 {0}，但本机只有 {1} 个处理器核心，请减小",
    ),
    (r"devices? is (.+), but (\d+) GPUs are here; .+", "设备 {0} 不可用：本机只有 {1} 块 GPU"),
    (
        r"device is (.+), but torch finds no GPU here; .+",
        "设备 {0} 不可用：本机没有 GPU，请选 cpu 或 auto",
    ),
    (r"device is (.+); choose auto, cpu or cuda", "设备是 {0}，请选 auto、cpu 或 cuda"),
    (r"fine-tuning needs (.+); install it with: (.+)", "微调需要 {0}，请安装：{1}"),
    (r"job (\S+) does not run: it is (?P<why>.+)", "任务 {0} 没有在运行：{1}"),
    (r"job (\S+) is done; .+", "任务 {0} 已完成；要继续训练请新建任务"),
    (r"job (\S+) is making (.+) already; .+", "任务 {0} 正在生成 {1}；请换一个名称，或先停止它"),
    (r"job (\S+) runs: it is (?P<why>.+); stop it .+", "任务 {0} {1}，请先停止它"),
    (r"(.+) takes no new job \(.+\); .+", "{0} 记不下新任务，请换回旧的备份"),
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
    (r"parts is empty; choose from (.+)", "parts 是空的，请从 {0} 中选择"),
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
        r"the (?:loss|gradient) is (\S+) at step (\d+); nothing .+: start again .+ than (.+)",
        "第 {1} 步的损失或梯度是 {0}，训练已停止，还没有学到东西；请用小于 {2} 的学习率重新开始",
    ),
    (
        r"the (?:loss|gradient) is (\S+) at step (\d+); .+: start again with a lower lr than (.+)",
        "第 {1} 步的损失或梯度是 {0}，训练已停止，最近的检查点仍在；请用小于 {2} 的学习率重新开始",
    ),
)
