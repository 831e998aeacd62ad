"""The texts of the pages in Chinese and English, and which of the two this session reads."""

from __future__ import annotations

import streamlit as st

from rwkv_rag.types import Language
from rwkv_rag.ui import parts

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
    "Model": "模型",
    "Tuned memory": "记忆状态",
    "none": "无",
    "state": "状态",
    "adapter": "适配器",
    "loss {before:.2f} → {after:.2f}": "损失 {before:.2f} → {after:.2f}",
    "{name} does not belong to this model.": "{name} 不属于当前模型。",
    "Quotes are the reader's; the tuned memory writes free answers.": (
        "“只引原文”由阅读器摘录；所选记忆用于自由回答。"
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
    # tuning
    "Tuning": "微调",
    "Teach the model from rows of questions and answers, and use it in the chat.": (
        "用问答数据教模型，教完即可在问答页使用。"
    ),
    "Steps of tuning": "微调步骤",
    "Rows": "数据",
    "Method": "方法",
    "Runs": "任务",
    "Choose rows first: from a knowledge base, or a file.": (
        "请先在“数据”一步选择数据：取自知识库，或一个文件。"
    ),
    "Started {name}. It goes on when this page is closed.": "已开始 {name}，关闭页面也会继续。",
    # tuning: rows
    "Where the rows come from": "数据来源",
    "From a knowledge base": "取自知识库",
    "Upload a file": "上传文件",
    "A file on this machine": "本机文件",
    "No knowledge base has documents yet. Add some on the Knowledge page.": (
        "知识库中还没有文档，请先到“知识库”页添加。"
    ),
    "Refusals (%)": "拒答比例（%）",
    "Rows whose passages hold no answer: the model learns to say so.": (
        "这些数据的段落中没有答案，让模型学会说“没有找到”。"
    ),
    "A question is written for a sentence, and kept if search finds the sentence by it.": (
        "针对文档中的句子提问，能用问题检索到该句子的才保留。"
    ),
    "Make rows": "生成数据",
    "Making rows …": "正在生成数据……",
    "Stop here": "到此为止",
    "{count} of {wanted} rows · {dropped} questions dropped": (
        "{count} / {wanted} 条 · 舍弃 {dropped} 个问题"
    ),
    "Rows as .jsonl or .jsonl.xz, at most 200 MB": ".jsonl 或 .jsonl.xz 文件，不超过 200 MB",
    "One JSON object a line: question and answer, messages, or text.": (
        "每行一个 JSON 对象：question 和 answer，或 messages，或 text。"
    ),
    "Path of a .jsonl, .jsonl.xz or .bin file": ".jsonl、.jsonl.xz 或 .bin 文件的路径",
    "Read": "读取",
    "Reading …": "正在读取……",
    "{count} lines cannot be used:": "有 {count} 行不能使用：",
    "line {number}: {reason}": "第 {number} 行：{reason}",
    "Skip bad lines": "跳过不能用的行",
    "question": "问题",
    "answer": "回答",
    "refusal": "拒答",
    "source": "来源",
    "{count} rows; double-click a cell to edit, the last line to add.": (
        "共 {count} 条；双击单元格修改，在末行添加。"
    ),
    "The file goes on; its other rows are used as they are.": "文件后面还有数据，将原样使用。",
    "{more} more follow and are used as they are.": "后面还有 {more} 条，将原样使用。",
    "Use these rows": "使用这些数据",
    "Rows: {file}": "数据：{file}",
    "Rows: {file} · {count} rows": "数据：{file} · {count} 条",
    # tuning: method
    "Memory state": "记忆状态",
    "All weights": "全部权重",
    "Small and fast: trains only the memory a chat begins with. For a style, a format, a manner of "
    "answering. Begin here.": "小而快：只训练对话开始时的记忆。适合文风、格式和回答方式，先试它。",
    "A small addition to the weights. For a subject that a state cannot hold.": (
        "给权重加上一小部分。适合状态装不下的专业内容。"
    ),
    "Like LoRA, begun at the weights' main directions; often learns faster.": (
        "与 LoRA 相似，从权重的主方向开始，往往学得更快。"
    ),
    "Like LoRA with half the numbers; try it where memory is short.": (
        "与 LoRA 相似，参数只有一半，内存紧张时可用。"
    ),
    "Trains everything. For many rows and much memory; the result is a model.": (
        "训练全部参数。需要大量数据和内存，结果是一个新模型。"
    ),
    "Name of the result": "结果名称",
    "Steps": "步数",
    "One step reads a batch of rows and changes the weights a little.": (
        "每步读一批数据，把权重改动一点。"
    ),
    "Options": "选项",
    "automatic": "自动",
    "Learning rate, first": "起始学习率",
    "Learning rate, last": "最终学习率",
    "Schedule": "学习率曲线",
    "Share held out": "留出比例",
    "These rows are never trained on; they tell whether it really learned.": (
        "这些数据不参加训练，用来检验是否真的学会。"
    ),
    "Rows a step": "每步条数",
    "Accumulated passes": "梯度累积",
    "Context (tokens)": "上下文（token）",
    "Segment (tokens)": "分段（token）",
    "Above 0, rows of any length are read in segments, the memory carried on.": (
        "大于 0 时，再长的数据也分段读入，记忆逐段传递。"
    ),
    "What is learned": "学习内容",
    "answers only": "只学回答",
    "every word": "全文",
    "Rank": "秩",
    "Parts reached": "作用部分",
    "Base model": "基底模型",
    "Precision": "精度",
    "Quantized base": "量化基底",
    "Needs a GPU.": "需要 GPU。",
    "Seed": "随机种子",
    "Gradient checkpointing: less memory, slower": ("梯度检查点：内存更少，速度更慢"),
    "Project": "项目",
    "Logged in to Weights & Biases.": "已登录 Weights & Biases。",
    "Weights & Biases is not installed: pip install 'rwkv-rag[wandb]'": (
        "未安装 Weights & Biases：pip install 'rwkv-rag[wandb]'"
    ),
    "Not logged in: the run is kept offline. To log in: wandb login": (
        "未登录，记录只存于本机。登录命令：wandb login"
    ),
    "Estimating …": "正在估算……",
    "Memory needed": "所需内存",
    "of {free} free": "可用 {free}",
    "Time, about": "预计用时",
    "Numbers trained": "训练参数",
    "This does not fit into the memory of this machine.": "本机内存不够。",
    "What would fit: {ways}.": "可以改为：{ways}。",
    "Start": "开始",
    # tuning: runs
    "No run yet. Choose rows and a method, and start one.": (
        "还没有任务。请选择数据和方法，然后开始。"
    ),
    "Run": "任务",
    "Compare with": "对比",
    "waiting": "等待中",
    "running": "进行中",
    "stopped": "已停止",
    "interrupted": "已中断",
    "failed": "失败",
    "finished": "已完成",
    "step": "步",
    "step {step} of {steps}": "第 {step} / {steps} 步",
    "Loss": "损失",
    "loss": "损失",
    "Held-out loss": "留出数据的损失",
    "On rows that are never trained on: before, and the change at the end.": (
        "在不参加训练的数据上测得：训练前的值，结束后的变化。"
    ),
    "Tokens/s": "每秒 token",
    "tokens/s": "每秒 token",
    "Time left": "剩余时间",
    "Memory": "内存",
    "memory": "内存",
    "It ended without a word.": "它没有留下说明就结束了。",
    "Its process ended early. Resume goes on from the last checkpoint.": (
        "进程提前结束；“继续”会从最近的检查点接着训练。"
    ),
    "Use in chat": "在问答中使用",
    "Resume": "继续",
    "Stop": "停止",
    "Forget this run": "删除这条记录",
    "Forget the run {name}? What it made is kept.": "删除任务 {name} 的记录？训练结果会保留。",
    "Yes, forget": "确认删除",
    "Stopping …": "正在停止……",
    "The loss is drawn here as soon as there is a step.": "完成第一步后，这里显示损失曲线。",
    "Thin: each step. Strong: running mean. Diamonds: rows held out.": (
        "细线：每一步；粗线：滑动平均；菱形：留出的数据。"
    ),
    "Log": "日志",
    "All runs": "全部任务",
    "name": "名称",
    "method": "方法",
    "status": "状态",
    "progress": "进度",
    "before": "训练前",
    "after": "训练后",
    # services
    "Services": "服务",
    "Each service has a queue, and workers in processes of their own.": (
        "每个服务有一个队列和若干工作进程。"
    ),
    "Everything runs in this process. Services are started with: rwkv-rag up": (
        "一切都在本进程中运行。启动服务的命令：rwkv-rag up"
    ),
    "The services run elsewhere; look at them there: rwkv-rag status": (
        "服务在别处运行，请在那里查看：rwkv-rag status"
    ),
    "starting": "启动中",
    "ready": "就绪",
    "restarting": "重启中",
    "service": "服务",
    "queue": "排队",
    "workers": "工作进程",
    "in flight": "处理中",
    "p50": "p50",
    "p95": "p95",
    "model": "模型",
    "restarts": "重启次数",
    "Workers": "工作进程",
    "worker": "工作进程",
    "served": "已处理",
    "device": "设备",
    "heard": "上次心跳",
    "No worker has joined yet.": "还没有工作进程加入。",
    "Restart": "重启",
    "Requests wait meanwhile; the other services keep working.": (
        "重启期间请求会排队等待，其他服务照常工作。"
    ),
    "Restarting {name} …": "正在重启 {name}……",
    "{seconds} s": "{seconds} 秒",
    "{minutes} min {seconds} s": "{minutes} 分 {seconds} 秒",
    "{hours} h {minutes} min": "{hours} 小时 {minutes} 分",
}


def language() -> Language:
    """The language this session reads: its own choice, else the one the server was started with."""
    chosen = st.session_state.get("language")
    return LANGUAGES[chosen] if chosen in LANGUAGES else parts.settings().language


def text(message: str, **values: object) -> str:
    """`message` in the session's language with `values` in place."""
    known = CHINESE[message] if language() == "zh" else message
    return known.format(**values)
