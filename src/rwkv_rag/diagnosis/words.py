"""What findings say, in Chinese and English. Knows no check."""

from __future__ import annotations

from collections.abc import Mapping

from rwkv_rag.diagnosis.finding import Finding
from rwkv_rag.messages import explain_reason
from rwkv_rag.types import Language

CHINESE = {
    # what is looked at
    "python": "Python",
    "torch": "torch",
    "gpu": "GPU",
    "memory": "内存",
    "disk": "磁盘",
    "temporary": "临时目录",
    "clock": "时钟",
    "settings": "设置",
    "data": "数据目录",
    "keys": "密钥",
    "model": "模型",
    "services": "服务",
    "ports": "端口",
    "knowledge": "知识库",
    "tuning": "微调",
    "fits": "放得下",
    # the machine
    "Python {version} on {system}": "Python {version}，{system}",
    "install a 64-bit Python of version 3.10 or later": "请安装 64 位的 Python 3.10 或更高版本",
    "torch cannot be loaded: {why}": "torch 无法加载：{why}",
    "pip install --force-reinstall torch": "pip install --force-reinstall torch",
    "torch {version} on the CPU, {threads} threads of {cores} cores": (
        "torch {version}，在 CPU 上用 {threads} 个线程（共 {cores} 核）"
    ),
    "{name}: {free} of {total} free; it is used for fine-tuning": (
        "{name}：可用 {free}，共 {total}；用于微调"
    ),
    "there is an NVIDIA driver, but this torch cannot use it": (
        "有 NVIDIA 驱动，但当前的 torch 用不了它"
    ),
    "install torch for your CUDA version: https://pytorch.org/get-started/locally": (
        "请安装与 CUDA 版本对应的 torch：https://pytorch.org/get-started/locally"
    ),
    "no GPU; everything runs on the CPU": "没有 GPU，全部在 CPU 上运行",
    "{free} of {total} free; the largest RWKV-7 that fits: {bf16} in bf16, {fp32} in fp32": (
        "可用 {free}，共 {total}；放得下的最大 RWKV-7：bf16 为 {bf16}，fp32 为 {fp32}"
    ),
    "close other programs": "请关闭其他程序",
    "{free} free at {folder}": "{folder} 还有 {free}",
    "only {free} free at {folder}": "{folder} 只剩 {free}",
    "make room on this disk": "请清理这块磁盘",
    "the clock says {now}": "现在是 {now}",
    "the clock says {now}, and the data directory was changed at {then}": (
        "时钟显示 {now}，而数据目录的修改时间是 {then}"
    ),
    "set the clock of this machine": "请校准本机时钟",
    # what is installed
    "installed: {installed}": "已安装：{installed}",
    "not installed: {missing}": "未安装：{missing}",
    "pip install 'rwkv-rag[{extra}]'": "pip install 'rwkv-rag[{extra}]'",
    # the data directory
    "{path} is made when it is first needed": "{path} 还不存在，首次使用时创建",
    "{path} cannot be made: {above} is not yours to write to": (
        "无法创建 {path}：对 {above} 没有写权限"
    ),
    "choose another with --home or RWKV_RAG_HOME": "请用 --home 或 RWKV_RAG_HOME 换一个目录",
    "{path} cannot be written: {why}": "{path} 无法写入：{why}",
    "chown -R $USER {path}, or choose another with --home": (
        "chown -R $USER {path}，或用 --home 换一个目录"
    ),
    "{path} can be written": "{path} 可以写入",
    "other users of this machine can read {path}": "本机的其他用户可以读取 {path}",
    "{path} belongs to user {owner}": "{path} 属于用户 {owner}",
    "chmod 700 {path}": "chmod 700 {path}",
    "chmod 600 {path}": "chmod 600 {path}",
    "chown $USER {path}": "chown $USER {path}",
    "chown -R $USER {path}": "chown -R $USER {path}",
    "no keys; nothing but this machine can connect": "没有密钥，只有本机可以连接",
    "{path} is readable by its owner only": "{path} 只有所有者可读",
    # settings, services
    "{file} can be used": "{file} 可用",
    "no ragq.yml; the defaults count": "没有 ragq.yml，使用默认设置",
    "{port} is free ({key})": "{port} 空闲（{key}）",
    "none runs; every command does its work itself": "没有运行服务，每条命令自行完成工作",
    "{name} ({state}): {why}": "{name}（{state}）：{why}",
    "rwkv-rag restart {name}": "rwkv-rag restart {name}",
    "{name} is not ready yet: {state}": "{name} 尚未就绪：{state}",
    "rwkv-rag status": "rwkv-rag status",
    "{name} answers at {address}": "{name} 有应答：{address}",
    "{name} has no worker": "{name} 没有工作进程",
    "{name} answers, {workers} workers, {waiting} requests waiting": (
        "{name} 有应答，{workers} 个工作进程，{waiting} 个请求在等待"
    ),
    # models
    "stand-ins take the place of models (RWKV_RAG_MODEL=fake)": (
        "用替身代替模型（RWKV_RAG_MODEL=fake）"
    ),
    "{path} is missing": "缺少 {path}",
    "{path} is not the file that was installed": "{path} 与安装时的文件不同",
    "pip install --force-reinstall --no-deps rwkv-rag": (
        "pip install --force-reinstall --no-deps rwkv-rag"
    ),
    "the model in the package computes {length}, not 1": "自带模型的计算结果是 {length}，应为 1",
    "builtin: loads and computes (sha256 {digest}…)": (
        "builtin：可以加载和计算（sha256 {digest}…）"
    ),
    "{file}: RWKV-7, {layers} layers of width {width}": "{file}：RWKV-7，{layers} 层，宽 {width}",
    # what is stored
    "no knowledge base yet": "还没有知识库",
    "{name}: {why}": "{name}：{why}",
    "rwkv-rag kb rebuild {name}": "rwkv-rag kb rebuild {name}",
    "{name}: the indexes hold its {documents} documents, {passages} passages": (
        "{name}：{documents} 个文档、{passages} 个段落，索引与文档一致"
    ),
    "{name} was made with the embedding model {model}, and now {now} is in use": (
        "{name} 用嵌入模型 {model} 建立，现在用的是 {now}"
    ),
    "go back to that model, or index the documents into a new base": (
        "请换回原来的模型，或把文档索引到新的知识库"
    ),
    "{count} fine-tunings": "{count} 个微调任务",
    "{count} fine-tunings, {broken} not finished": "{count} 个微调任务，其中 {broken} 个没有完成",
    "rwkv-rag tune show {id}": "rwkv-rag tune show {id}",
    # the checks themselves
    "{why}": "{why}",
    "this check itself broke: {why}": "这项检查本身出错：{why}",
    "please report it": "请反馈这个问题",
}


def said(finding: Finding, language: Language) -> str:
    """What was found."""
    return _filled(finding.said, finding.values, language)


def mend(finding: Finding, language: Language) -> str:
    """What to do about it; empty where nothing is to be done."""
    return _filled(finding.mend, finding.values, language)


def term(word: str, language: Language) -> str:
    """A heading, or what was looked at; names stay as they are."""
    return CHINESE.get(word, word) if language == "zh" else word


def _filled(text: str, values: Mapping[str, object], language: Language) -> str:
    shown = {
        name: explain_reason(str(value), language) if name == "why" else value
        for name, value in values.items()
    }
    return term(text, language).format(**shown)
