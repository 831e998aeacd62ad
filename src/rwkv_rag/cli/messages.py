"""The command line's own texts in Chinese, by their English form. Knows no error message."""

from __future__ import annotations

from rwkv_rag.cli import messages_up
from rwkv_rag.types import Language

CHINESE = {
    **messages_up.CHINESE,
    # help
    "Ask your own documents, on your own machine, and check every quoted source.": (
        "在自己的电脑上向自己的文档提问，每处引用都可以核对。"
    ),
    "Print the version.": "显示版本号。",
    "Language of messages: zh or en.": "界面语言：zh 或 en。",
    "Show this message and exit.": "显示帮助并退出。",
    "Directory that holds all data (default: RWKV_RAG_HOME).": (
        "存放全部数据的目录（默认取 RWKV_RAG_HOME）。"
    ),
    "Knowledge base.": "知识库。",
    "Services to use (default: those that run on the data directory, if any).": (
        "使用哪里的服务（默认用数据目录上正在运行的服务，没有则不用）。"
    ),
    "Key file for services on another machine (RWKV_RAG_KEY).": (
        "连接其他机器上的服务所用的密钥文件（RWKV_RAG_KEY）。"
    ),
    "the running services do not have the model {model}; it is loaded here": (
        "正在运行的服务没有模型 {model}，改由本命令自己加载"
    ),
    "Print JSON and nothing else.": "只输出 JSON。",
    "RWKV checkpoint (.safetensors or .pth) that writes the answers.": (
        "用来写回答的 RWKV 模型文件（.safetensors 或 .pth）。"
    ),
    "Tuned state, adapter or model (by name) that writes free answers.": (
        "用来自由回答的微调结果（状态、适配器或模型）的名称。"
    ),
    "quoted by the reader; with --free {name} writes": (
        "以上为阅读器摘录的原文；加上 --free 由 {name} 撰写"
    ),
    "How many passages to retrieve.": "检索多少个段落。",
    "Read files and directories into a knowledge base.": "把文件和目录读入知识库。",
    "Files and directories to read.": "要读入的文件和目录。",
    "Characters per passage (a new base: 400).": "每段的字符数（新知识库为 400）。",
    "Characters two neighbouring passages share (a new base: 60).": (
        "相邻两段重叠的字符数（新知识库为 60）。"
    ),
    "Characters per passage.": "每段的字符数。",
    "Characters two neighbouring passages share.": "相邻两段重叠的字符数。",
    "Ask a question; the answer comes with the places in your documents that prove it.": (
        "提一个问题；回答附带文档中的出处。"
    ),
    "The question, in Chinese or English.": "问题，中文或英文。",
    "Quote the sources word for word, or let the model write.": "逐字引用原文，或由模型撰写。",
    "Search a knowledge base; prints the best passages.": "检索知识库，列出最相关的段落。",
    "What to look for.": "要找的内容。",
    "Knowledge bases: list, show, create, delete.": "知识库：列出、查看、新建、删除。",
    "List the knowledge bases.": "列出知识库。",
    "Show a knowledge base and its documents.": "查看知识库及其文档。",
    "Create an empty knowledge base.": "新建空的知识库。",
    "Delete a knowledge base and everything in it.": "删除知识库及其全部内容。",
    "Name of the knowledge base.": "知识库的名称。",
    "Do not ask.": "不再询问。",
    "See it work: a few documents, questions in two languages, every quote checked.": (
        "演示：索引几个文档，用两种语言提问，并核对每处引用。"
    ),
    "Chat with your documents in the browser (this machine only).": (
        "在浏览器中与文档对话（仅限本机）。"
    ),
    "Port on 127.0.0.1.": "127.0.0.1 上的端口。",
    "Open a browser.": "打开浏览器。",
    "Serve the HTTP API (OpenAI's protocol, and REST); Ctrl-C ends it.": (
        "提供 HTTP 接口（OpenAI 协议和 REST）；按 Ctrl-C 结束。"
    ),
    "Address to listen on; others than 127.0.0.1 need the token.": (
        "监听的地址；除 127.0.0.1 外都需要令牌。"
    ),
    "Port; 0 takes a free one.": "端口；0 表示任取一个空闲的。",
    "Ask for the token on 127.0.0.1 too.": "在 127.0.0.1 上也要求令牌。",
    "Directory whose files requests may name; may be given several times.": (
        "请求中可以引用其中文件的目录；可以给出多个。"
    ),
    "Check this machine, what is installed, the settings and the stored data.": (
        "检查本机、已安装的组件、设置和存储的数据。"
    ),
    "ok": "正常",
    "warn": "注意",
    "fail": "错误",
    "{ok} fine, {warn} to look at, {fail} to mend": (
        "{ok} 项正常，{warn} 项需注意，{fail} 项需处理"
    ),
    "Measure retrieval and answers over a file of questions.": "用问题文件评测检索和回答。",
    "Questions, one JSON object a line (.jsonl or .jsonl.xz).": (
        "问题文件，每行一个 JSON 对象（.jsonl 或 .jsonl.xz）。"
    ),
    "rag: search all passages; gold: hand the model the right one.": (
        "rag：在全部段落中检索；gold：直接给出正确的段落。"
    ),
    "all: one base of all passages; source: one for each source.": (
        "all：全部段落一个库；source：每个来源各一个库。"
    ),
    "Only the first N questions.": "只用前 N 个问题。",
    "Measure the speed of a model on this machine.": "测量模型在本机上的速度。",
    # keys
    "Keys of machines that may reach the services.": "可以访问服务的机器的密钥。",
    "Keys of the services and of the machines that may reach them.": (
        "服务的密钥，以及可以访问服务的机器的密钥。"
    ),
    "What the other machine is called.": "另一台机器的名称。",
    "Show the public key of the services, made now if there is none, and who is let in.": (
        "显示服务的公钥（没有则现在生成），以及允许访问的机器。"
    ),
    "Make a key for another machine; the file is all that it needs.": (
        "为另一台机器生成密钥；它只需要这一个文件。"
    ),
    "File to write the key to (default: NAME.key).": "密钥写入哪个文件（默认为 名称.key）。",
    "Let the owner of a key in no longer.": "不再允许某个密钥的持有者访问。",
    "public key of the services: {key}": "服务的公钥：{key}",
    "nobody else is let in; `rwkv-rag keys add NAME` makes a key": (
        "没有其他机器可以访问；用 `rwkv-rag keys add 名称` 生成密钥"
    ),
    "public key": "公钥",
    "wrote {file}": "已写入 {file}",
    "move it to the other machine over a safe way (scp): who has it can use the services": (
        "请用安全的方式（scp）把它移到另一台机器：持有者就能使用服务"
    ),
    "{name} is let in no longer": "不再允许 {name} 访问",
    # fine-tuning
    "Fine-tuning: prepare rows, start and follow jobs.": "微调：准备数据，启动并查看任务。",
    # training rows
    "Turn training rows into tokens (binidx), or check a .bin that is there already.": (
        "把训练数据转成 token（binidx），或检查已有的 .bin。"
    ),
    "Rows: .jsonl, .jsonl.xz, .jsonl.gz, or a .bin.": (
        "训练数据：.jsonl、.jsonl.xz、.jsonl.gz，或 .bin。"
    ),
    "What OUT.bin and OUT.idx are called; not for a .bin.": (
        "输出文件 OUT.bin 和 OUT.idx 的名称；.bin 不需要。"
    ),
    "Model whose vocabulary is used (default: the builtin one).": (
        "用哪个模型的词表（默认为内置模型）。"
    ),
    "What training learns: the answers, or every token.": "学习什么：只学回答，或全部 token。",
    "Leave bad lines out instead of stopping.": "跳过有问题的行，而不是停下。",
    "Context length that the magic prime is told for.": "按多长的上下文计算 magic prime。",
    "reading rows": "正在读取训练数据",
    "line {number} skipped: {reason}": "跳过第 {number} 行：{reason}",
    "{bad} bad lines skipped in all": "共跳过 {bad} 行",
    "{prefix}: {rows} rows, {tokens} tokens, {scored} of them learned, longest row {longest}": (
        "{prefix}：{rows} 行，{tokens} 个 token，其中学习 {scored} 个，最长一行 {longest} 个"
    ),
    "for RWKV-LM: --my_exit_tokens {tokens} --magic_prime {prime} --ctx_len {n}": (
        "用于 RWKV-LM：--my_exit_tokens {tokens} --magic_prime {prime} --ctx_len {n}"
    ),
    "too few tokens for a magic prime at context {n}": "token 太少，上下文 {n} 没有 magic prime",
    "Make training rows from a knowledge base: questions, passages, answers, refusals.": (
        "从知识库生成训练数据：问题、段落、回答和拒答。"
    ),
    "The .jsonl file to write.": "要写的 .jsonl 文件。",
    "How many rows at most.": "最多多少行。",
    "Share of rows whose passages hold no answer.": "段落中没有答案的行所占的比例。",
    "Passages a row has at most.": "每行最多几个段落。",
    "Another number makes other rows.": "换一个数，生成另一批。",
    "RWKV checkpoint that writes the questions.": "用来写问题的 RWKV 模型文件。",
    "making rows": "正在生成训练数据",
    "the model does not write; the questions were made by rule": (
        "现在的模型不会写作，问题由规则生成"
    ),
    "{made} rows in {file}; read and edit them before use": (
        "{file} 中有 {made} 行；使用前请过目并修改"
    ),
    "Start a fine-tuning; it goes on if this command is ended.": (
        "启动一次微调；即使本命令被结束，任务也会继续。"
    ),
    "Say what a fine-tuning would need, and start nothing.": "估算微调的需要，不启动任何任务。",
    "List the fine-tuning jobs, the newest first.": "列出微调任务，最新的在前。",
    "Show a job: its settings, how far it is, and what it learned.": (
        "查看任务：设置、进度和训练结果。"
    ),
    "Ask a job to write a checkpoint and end.": "让任务写下检查点后结束。",
    "Go on from the last checkpoint of a job that was stopped, interrupted or failed.": (
        "从最近的检查点继续已停止、被中断或失败的任务。"
    ),
    "Delete a job that does not run, with its figures; what it made stays.": (
        "删除没有在运行的任务及其记录；训练结果保留。"
    ),
    "forget job {id} ({name})?": "删除任务 {id}（{name}）的记录？",
    "Print what a job's process wrote.": "显示任务进程的输出。",
    "Id of the job, or how it begins.": "任务编号，或其开头几个字符。",
    "Stay until the job ends.": "一直等到任务结束。",
    "Do not follow the job.": "不跟随任务，立即返回。",
    "Model to tune: builtin or an RWKV checkpoint (default: as set).": (
        "要微调的模型：builtin 或 RWKV 模型文件（默认为当前设置）。"
    ),
    "What trains: state, lora, pissa, miss, full.": "训练什么：state、lora、pissa、miss、full。",
    "Rows to train on: .jsonl, or the .bin of a pair.": "训练数据：.jsonl，或一对文件中的 .bin。",
    "What the result is called (default: DATA-METHOD).": "结果的名称（默认为 数据-方法）。",
    "What training learns: answers, or all (every token).": (
        "学习什么：answers（只学回答）或 all（每个 token）。"
    ),
    "Optimiser steps.": "优化步数。",
    "Passes over the rows, instead of steps.": "遍历数据的次数，代替步数。",
    "Rows a step and device.": "每步每个设备的行数。",
    "Batches that make one step.": "几批合成一步。",
    "Tokens of a row that are read; longer rows are cut.": (
        "每行读取的 token 数，更长的行会被切开。"
    ),
    "Read rows of any length in segments of so many tokens, carrying the state over.": (
        "任意长的行按这么多 token 分段读取，段间传递状态。"
    ),
    "First learning rate (default: the method's).": "起始学习率（默认取该方法的值）。",
    "Last learning rate.": "最终学习率。",
    "How the learning rate falls: cosine or wsd.": "学习率的下降方式：cosine 或 wsd。",
    "Steps over which the learning rate rises.": "学习率上升的步数。",
    "How much large weights are pulled towards zero.": "把大矩阵拉向零的强度。",
    "Largest gradient norm; 0 does not clip.": "梯度范数的上限；0 表示不裁剪。",
    "Rank of adapters.": "适配器的秩。",
    "Scale of adapters (default: the rank).": "适配器的缩放（默认等于秩）。",
    "What adapters reach: att, ffn, low_rank, separated by commas.": (
        "适配器作用于哪些部分：att、ffn、low_rank，用逗号分隔。"
    ),
    "Share of the rows that is measured and never trained on.": (
        "只用来测量、从不训练的行所占的比例。"
    ),
    "auto, bf16 or fp32.": "auto、bf16 或 fp32。",
    "Hold the base in int8 or nf4 (needs a GPU).": "以 int8 或 nf4 存放基座模型（需要 GPU）。",
    "Compute layers again instead of keeping them: less memory, more time.": (
        "重新计算各层而不保留：省内存，费时间。"
    ),
    "auto, cpu or cuda.": "auto、cpu 或 cuda。",
    "Devices on each machine.": "每台机器的设备数。",
    "Machines.": "机器数。",
    "How devices share the work: auto, ddp, fsdp or deepspeed_stage_1 to 3.": (
        "设备如何分工：auto、ddp、fsdp 或 deepspeed_stage_1 到 3。"
    ),
    "Seed of shuffling and of what adapters start from.": "打乱数据和初始化适配器的随机种子。",
    "Seconds between checkpoints.": "两次检查点之间的秒数。",
    "Weights & Biases: off, offline or online.": "Weights & Biases：off、offline 或 online。",
    "Project of Weights & Biases.": "Weights & Biases 的项目名。",
    "training": "正在训练",
    "waiting": "等待",
    "running": "运行中",
    "stopped": "已停止",
    "failed": "失败",
    "done": "完成",
    "logged in": "已登录",
    "not logged in": "未登录",
    "missing": "未安装",
    "job {id} has begun": "任务 {id} 已开始",
    "job {id} will stop after its step": "任务 {id} 将在完成当前步后停止",
    "job {id} goes on; `rwkv-rag tune show {id} --follow` follows it, "
    "`rwkv-rag tune stop {id}` ends it": (
        "任务 {id} 仍在继续；`rwkv-rag tune show {id} --follow` 可继续查看，"
        "`rwkv-rag tune stop {id}` 可结束它"
    ),
    "loss {loss:.3f}, {speed:,.0f} tok/s, {memory:.1f} GB": (
        "损失 {loss:.3f}，{speed:,.0f} token/秒，{memory:.1f} GB"
    ),
    "job {id} is {status}; `rwkv-rag tune resume {id}` goes on": (
        "任务 {id} {status}；`rwkv-rag tune resume {id}` 可继续"
    ),
    "{name}: loss {before} before, {after} after, on rows never trained on": (
        "{name}：在从未训练过的行上，损失由 {before} 变为 {after}"
    ),
    "{name}: loss {loss} in the last step; no rows were held back to measure it on": (
        "{name}：最后一步的损失为 {loss}；没有留出可供测量的行"
    ),
    "job {id} goes on from its last checkpoint": "任务 {id} 从最近的检查点继续",
    "{memory:.1f} GB of memory of {free:.1f} GB free; {trainable:,} numbers train": (
        "需要内存 {memory:.1f} GB，可用 {free:.1f} GB；训练 {trainable:,} 个参数"
    ),
    "about {minutes:.1f} minutes": "大约 {minutes:.1f} 分钟",
    "would fit with: {way}": "改用 {way} 即可放下",
    "Weights & Biases: {login}": "Weights & Biases：{login}",
    "no job yet; start one with `rwkv-rag tune start METHOD --data FILE`": (
        "还没有任务；用 `rwkv-rag tune start 方法 --data 文件` 启动一个"
    ),
    "job": "任务",
    "method": "方法",
    "status": "状态",
    "step": "步",
    "loss": "损失",
    "before": "训练前",
    "after": "训练后",
    "begun": "开始时间",
    # running
    "error": "错误",
    "interrupted": "已中断",
    "{problem}; see {command} --help": "{problem}；用法见 {command} --help",
    "indexing": "正在索引",
    "index": "索引",
    "search": "检索",
    "answer": "回答",
    "measuring": "正在测量",
    "skipped {document}: {reason}": "跳过 {document}：{reason}",
    "{name}: {indexed} indexed, {replaced} replaced, {unchanged} unchanged, {skipped} skipped; "
    "{documents} documents, {chunks} passages in all": (
        "{name}：索引 {indexed}，替换 {replaced}，未变 {unchanged}，跳过 {skipped}；"
        "共 {documents} 个文档，{chunks} 个段落"
    ),
    "nothing found": "没有找到",
    "no knowledge base yet; make one with `rwkv-rag index PATH --kb NAME`": (
        "还没有知识库；用 `rwkv-rag index 路径 --kb 名称` 建一个"
    ),
    "created {name}": "已新建 {name}",
    "deleted {name}": "已删除 {name}",
    "nothing deleted": "没有删除",
    "delete {name} with its {documents} documents?": "删除 {name} 及其 {documents} 个文档？",
    "name": "名称",
    "documents": "文档",
    "passages": "段落",
    "size/overlap": "段长/重叠",
    "embedding model": "向量模型",
    "document": "文档",
    "kind": "类型",
    "characters": "字符",
    "pages": "页",
    "{seconds:.2f} s": "{seconds:.2f} 秒",
    "http://127.0.0.1:{port} — Ctrl-C ends it": "http://127.0.0.1:{port} — 按 Ctrl-C 结束",
    # demonstration
    "model loaded in {seconds:.1f} s": "载入模型用时 {seconds:.1f} 秒",
    ", {pages} pages": "，{pages} 页",
    "  {name}: {characters} characters{pages}, {chunks} passages": (
        "  {name}：{characters} 字符{pages}，{chunks} 个段落"
    ),
    "{documents} documents, {chunks} passages in {seconds:.1f} s ({speed:.0f} passages/s)": (
        "{documents} 个文档，{chunks} 个段落，用时 {seconds:.1f} 秒（每秒 {speed:.0f} 段）"
    ),
    "  understood as: {query}": "  理解为：{query}",
    "{answered} answered, {refused} refused; {good} of {cited} citations check out; "
    "{seconds:.1f} s in all": (
        "回答 {answered} 个，拒答 {refused} 个；{cited}"
        " 处引用中 {good} 处核对无误；共用时 {seconds:.1f} 秒"
    ),
    'next: rwkv-rag index YOUR-FILES, then rwkv-rag ask "…" or rwkv-rag ui': (
        '接下来：rwkv-rag index 你的文件，然后 rwkv-rag ask "……" 或 rwkv-rag ui'
    ),
    # checking and rebuilding
    "Make the indexes of a knowledge base anew from its stored documents.": (
        "用已存的文档重建知识库的索引。"
    ),
    "problem: {reason}": "问题：{reason}",
    "mend it with `rwkv-rag kb rebuild {name}`": "请用 `rwkv-rag kb rebuild {name}` 修复",
    "rebuilt {name}": "已重建 {name}",
    # what has been tuned
    "List what has been tuned and imported.": "列出微调和导入的结果。",
    "Take in a state or adapter that another program trained.": (
        "导入其他程序训练的状态或适配器。"
    ),
    "Write a state or adapter for other programs.": "导出状态或适配器，供其他程序使用。",
    "Write a whole model: the base with a state or adapter in it.": (
        "写出完整的模型：把状态或适配器并入基座。"
    ),
    "Delete something tuned.": "删除一个微调结果。",
    "Name of what was tuned.": "微调结果的名称。",
    "Model it belongs to (default: the builtin one).": "它所属的模型（默认为内置模型）。",
    "A time_state, LoRA, PiSSA or DiSHA file, or a folder of peft.": (
        "time_state、LoRA、PiSSA 或 DiSHA 文件，或 peft 目录。"
    ),
    "What to call it.": "取什么名称。",
    "Alpha a LoRA was trained with, where its file lacks it.": (
        "LoRA 训练时的 alpha，文件没有写明时需要。"
    ),
    "First pairs of a PiSSA (init_pissa.pth).": "PiSSA 的初始值文件（init_pissa.pth）。",
    "FILE.safetensors, FILE.pth, or for an adapter a new folder (peft).": (
        "文件名.safetensors、文件名.pth；适配器还可以给一个新目录（peft）。"
    ),
    "The new model, FILE.safetensors.": "新模型的文件名（.safetensors）。",
    "nothing tuned yet; begin with `rwkv-rag tune start`": (
        "还没有微调结果；用 `rwkv-rag tune start` 开始"
    ),
    "imported {name} for {base}: {what}": "已为 {base} 导入 {name}：{what}",
    "wrote {file}: {what}": "已写入 {file}：{what}",
    "wrote {file}; use it with --model {file}": "已写入 {file}；用 --model {file} 使用它",
    "merge it with an alpha of {alpha}": "合并时 alpha 取 {alpha}",
    "delete {name}?": "删除 {name}？",
    "a tuned state (time_state)": "微调的状态（time_state）",
    "a slim LoRA": "LoRA（slim）",
    "a LoRA in a folder of peft": "LoRA（peft 目录）",
    "a PiSSA adapter": "PiSSA 适配器",
    "a DiSHA (MiSS) adapter": "DiSHA（MiSS）适配器",
    "a DiSHA adapter of the mode bat": "DiSHA 适配器（bat 模式）",
    "an adapter of this program": "本程序的适配器",
    "a state": "状态",
    "an adapter": "适配器",
    "a whole model": "完整的模型",
    "a LoRA in the names of RWKV-PEFT": "LoRA（RWKV-PEFT 的命名）",
    "a DiSHA adapter in the names of RWKV-PEFT": "DiSHA 适配器（RWKV-PEFT 的命名）",
    "a folder of peft": "peft 目录",
    "base": "基座",
    "steps": "步数",
    "state": "状态",
    "adapter": "适配器",
    "model": "模型",
}


def translate(message: str, language: Language) -> str:
    """`message` in `language`; English stays as it is, and so does what is not in the catalogue."""
    return CHINESE.get(message, message) if language == "zh" else message
