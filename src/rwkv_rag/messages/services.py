"""What services and the way to them can go wrong with, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # what may be called
    (r"this service has no (.+); it has (.+)", "这个服务没有 {0}；有：{1}"),
    (r"(\w+) has no method (.+); it has (.+)", "{0} 没有方法 {1}；有：{2}"),
    (r"(\w+) cannot be bound to (.+)", "{0} 不能绑定 {1}"),
    (r"no model (.+) here; there are: (.+)", "这里没有模型 {0}；有：{1}"),
    (
        r"this index is reached from other machines and reads no files of its own; send the"
        r" documents \(`rwkv-rag index` does\)",
        "这个索引服务可由其他机器访问，不读取本机文件；请直接发送文档（`rwkv-rag index` 会这样做）",
    ),
    # who is in charge of a data directory
    (
        r"the services of process (\d+) are in charge of (.+); use them by leaving out --connect,"
        r" or end them with `rwkv-rag down`",
        "{1} 由进程 {0} 的服务管理；去掉 --connect 就会使用它们，或用 `rwkv-rag down` 结束它们",
    ),
)
