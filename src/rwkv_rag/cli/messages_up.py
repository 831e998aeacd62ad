"""What the commands that run services say, in Chinese; a part of `messages`. Knows no error."""

from __future__ import annotations

CHINESE = {
    # help
    "Start all services, the HTTP API and the pages; Ctrl-C stops them.": (
        "启动全部服务、HTTP 接口和网页；按 Ctrl-C 停止。"
    ),
    "Only these services, like llm,index,ui.": "只启动这些服务，例如 llm,index,ui。",
    "ragq.yml to use (default: ./ragq.yml, then HOME/ragq.yml).": (
        "使用的 ragq.yml（默认依次找当前目录和数据目录）。"
    ),
    "Port of the pages (8501).": "网页的端口（8501）。",
    "Port of the HTTP API (8600).": "HTTP 接口的端口（8600）。",
    "What runs: queues, workers, times, memory.": "查看运行情况：队列、工作进程、用时、内存。",
    "Stop everything that `rwkv-rag up` started, and wait until it is stopped.": (
        "停止 `rwkv-rag up` 启动的一切，并等到全部停下。"
    ),
    "Restart one service with ragq.yml as it is now; its requests wait, the others go on.": (
        "按现在的 ragq.yml 重启一个服务；它的请求排队等候，其他服务照常。"
    ),
    "llm, index, tuning, api or ui.": "llm、index、tuning、api 或 ui。",
    "Work for a service that runs on another machine; Ctrl-C leaves it.": (
        "为另一台机器上的服务工作；按 Ctrl-C 退出。"
    ),
    "The service to work for: llm.": "为哪个服务工作：llm。",
    "Its back end, tcp://HOST:PORT.": "该服务的后端地址，tcp://主机:端口。",
    "Key file made there with `rwkv-rag keys add`.": (
        "在那台机器上用 `rwkv-rag keys add` 生成的密钥文件。"
    ),
    "How many processes.": "启动多少个进程。",
    "auto or cpu (models run on the CPU).": "auto 或 cpu（模型在 CPU 上运行）。",
    "Print the configuration that counts, as a ragq.yml.": "以 ragq.yml 的格式打印实际生效的配置。",
    # up
    "{name}: ready ({seconds} s)": "{name}：就绪（{seconds} 秒）",
    "{name}: started; it works once it has the model": "{name}：已启动，装好模型后开始工作",
    "{name}: ended ({reason}); it is started again": "{name}：已退出（{reason}），正在重新启动",
    "{name}: failed ({reason}); the others go on": "{name}：失败（{reason}），其他服务照常",
    "pages: {address}": "网页：{address}",
    "HTTP API: {address}": "HTTP 接口：{address}",
    "ready; Ctrl-C stops everything, and so does rwkv-rag down": (
        "已就绪；按 Ctrl-C 或运行 rwkv-rag down 停止"
    ),
    "stopping; a second Ctrl-C stops at once": "正在停止；再按一次 Ctrl-C 立即结束",
    "fine-tuning {job} goes on by itself; follow it with rwkv-rag tune show {job}": (
        "微调任务 {job} 会自己继续；用 rwkv-rag tune show {job} 查看"
    ),
    "everything is stopped": "已全部停止",
    "working for {address} — Ctrl-C ends it": "正在为 {address} 工作，按 Ctrl-C 结束",
    # status, down, restart
    "nothing runs on {home}; start it with rwkv-rag up": (
        "{home} 上没有运行服务；用 rwkv-rag up 启动"
    ),
    "{service} runs again": "{service} 已重新运行",
    "{name}: {reason}": "{name}：{reason}",
    "{name} at {address}": "{name} 位于 {address}",
    "{name}: {busy} of {slots} at work, {served} served, {memory}": (
        "{name}：{slots} 个名额中 {busy} 个在工作，已完成 {served}，{memory}"
    ),
    "process {pid} runs them": "由进程 {pid} 运行",
    "service": "服务",
    "waiting": "等待",
    "busy": "进行中",
    "served": "完成",
    "failed": "失败",
    "memory": "内存",
    "restarts": "重启",
    "device": "设备",
    "tuned": "微调",
    "pid": "进程",
    "ready": "就绪",
    "starting": "启动中",
    "restarting": "重启中",
    "stopped": "已停止",
}
