"""What can be wrong with `ragq.yml`, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    (r"no such configuration file: (.+); check (.+)", "没有配置文件 {0}；请检查 {1}"),
    (r"(.+) is a directory; --config takes a file", "{0} 是目录；--config 需要一个文件"),
    (
        r"(.+) has (\d+) bytes; a configuration has at most (\d+)",
        "{0} 有 {1} 字节；配置文件最多 {2} 字节",
    ),
    (
        r"(.+): line (\d+) is not UTF-8; save the file as UTF-8",
        "{0}：第 {1} 行不是 UTF-8；请把文件存为 UTF-8",
    ),
    (r"(.+): (?:line )?(\d+) is not YAML: (?P<why>.+)", "{0}：第 {1} 行不是 YAML：{2}"),
    (r"(.+) cannot be read \((?P<why>.+)\)", "{0} 无法读取（{1}）"),
    (r"(.+): the file is not YAML: (?P<why>.+)", "{0}：文件不是 YAML：{1}"),
    (r"the key (.+) stands here twice", "键 {0} 在这里出现了两次"),
    (r"references \(\*name\) are not taken here", "这里不接受引用（*name）"),
    (r"a control character", "含有控制字符"),
    (r"mapping values are not allowed here", "这里不能出现冒号，请检查缩进和引号"),
    (
        r"(.+): the file holds (?P<why>.+) where a map of sections belongs;"
        r" begin with a line like llm:",
        "{0}：文件内容是{1}，应当分节书写，例如以 llm: 开头",
    ),
    (r"a list", "列表"),
    (r"a text", "文字"),
    (r"a single value", "单个值"),
    (r"(.+): (.+) is no key; keys are words", "{0}：{1} 不能作键；键须是单词"),
    (
        r"(.+): ([\w.]+) is a key of the predecessor; (?P<why>.+)",
        "{0}：{1} 是旧版的键；{2}",
    ),
    (r"write (.+)", "请写 {0}"),
    (r"leave it out: (?P<why>.+)", "请删去：{0}"),
    (
        r"Chroma runs inside the index service, see index.chroma_path",
        "Chroma 在 index 服务内运行，见 index.chroma_path",
    ),
    (r"services find each other", "服务之间会自动找到对方"),
    (r"the section says which service it is", "节名已说明是哪个服务"),
    (r"every worker is a process of its own", "每个工作进程都是独立进程"),
    (r"the queue chooses its sockets", "队列自己选择套接字"),
    (r"nothing depends on it", "没有用处"),
    (r"nothing has to be set up", "不需要初始化"),
    (r"the pages are for this machine only", "网页只供本机使用"),
    (r"(.+): there is no key (.+); did you mean (.+)\?", "{0}：没有键 {1}；是否指 {2}？"),
    (
        r"(.+): there is no key (.+); the keys there are (.+)",
        "{0}：没有键 {1}；此处的键有 {2}",
    ),
    (
        r"(.+): index.chunk_overlap is (\d+); it must be less than half of index.chunk_size, (\d+)",
        "{0}：index.chunk_overlap 是 {1}；须小于 index.chunk_size（{2}）的一半",
    ),
    (
        r"(.+): ([\w.]+) and ([\w.]+) are both (\d+); give each a port of its own",
        "{0}：{1} 和 {2} 都是 {3}；请各用一个端口",
    ),
    (r"(.+): ([\w.]+) is (.+); allowed: (?P<why>.+)", "{0}：{1} 是 {2}；可用：{3}"),
    (r"--device is (.+); allowed: (?P<why>.+)", "--device 是 {0}；可用：{1}"),
    (r"a whole number from (\d+) to (\d+)", "{0} 到 {1} 的整数"),
    (r"true or false", "true 或 false"),
    (r"(\w+) or (\w+)", "{0} 或 {1}"),
    (r"a path", "路径"),
    (r"a map of (.+)", "由 {0} 组成的一节"),
    (r"a map", "一节"),
    (r"a host name or an address of this machine", "主机名或本机地址"),
    (r"auto or cpu \(models run on the CPU\)", "auto 或 cpu（模型在 CPU 上运行）"),
    (
        r"builtin, fake or the path of an RWKV checkpoint",
        "builtin、fake 或 RWKV 模型文件的路径",
    ),
    (
        r"the name of a tuned state or adapter; "
        r"put a file on the shelf with: rwkv-rag tune import",
        "微调状态或适配器的名称；文件请先用 rwkv-rag tune import 导入",
    ),
    (
        r"1 \(one process owns the knowledge bases and serves many callers\)",
        "1（知识库由一个进程掌管，可同时服务多个调用者）",
    ),
    (r"1 \(jobs are processes of their own\)", "1（每个任务本来就是独立进程）"),
)
