"""What can go wrong on the way to a service and back, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # nobody there, nobody free, nobody in time
    (
        r"nobody answers at (\S+); start the services with `rwkv-rag up`",
        "{0} 没有应答；请用 `rwkv-rag up` 启动服务",
    ),
    (
        r"no worker of (\S+) was there for ([\d.e+]+)(?: s)?; see `rwkv-rag status`",
        "{1} 秒内服务 {0} 没有工作进程；请查看 `rwkv-rag status`",
    ),
    (
        r"(\S+) has too many requests waiting; try again later",
        "服务 {0} 等待的请求太多，请稍后再试",
    ),
    (
        r"(\S+) was busy for ([\d.e+]+)(?: s)?; try again later",
        "服务 {0} 忙了 {1} 秒，请稍后再试",
    ),
    (r"(\S+) gave no reply in ([\d.e+]+) s", "{0} 在 {1} 秒内没有回复"),
    (r"nobody fetched from (\S+) for ([\d.e+]+) s", "{1} 秒内没有人读取 {0} 的结果"),
    # lost on the way
    (r"the router went away during (\S+); ask again", "执行 {0} 时路由进程中断，请重新提问"),
    (r"the worker (.+) of (\S+) was lost; ask again", "服务 {1} 的工作进程 {0} 中断，请重新提问"),
    (r"(\S+) failed in (.+); its log says more", "{0} 在 {1} 中出错，详情见其日志"),
    # messages that break the protocol
    (
        r"the other side speaks version (\S+) of the bus, this one (\S+); update both",
        "对方的总线协议是版本 {0}，这一方是 {1}；请更新双方",
    ),
    (r"(\S+) answered out of turn: .+", "{0} 的应答次序不对"),
    (
        r"an envelope of (\d+) bytes; (\d+) are the most",
        "消息的信封有 {0} 字节，最多 {1} 字节",
    ),
    (r"no envelope of this bus: .+", "消息的信封无法读取"),
    (r"a message of too many frames", "消息的帧太多"),
    (
        r"a frame of (\d+) bytes is over the limit of (\d+)",
        "消息的一帧有 {0} 字节，最多 {1} 字节",
    ),
    (
        r"whoever answers does not speak the protocol of \S+",
        "对方使用的不是本程序的通信协议",
    ),
    (r"whoever answers is of another kind", "对方不是本程序的服务"),
    (r"keys, where there are none", "对方要求密钥，而此处没有密钥"),
    (r"a request of another shape", "请求的形式不对"),
    (r"a request with the id of another", "请求的编号重复"),
    (r"a worker where only clients come in", "工作进程连到了客户端的入口"),
    # addresses that cannot be bound
    (r"the address (\S+) is in use by another program", "地址 {0} 已被其他程序占用"),
    (r"the address (\S+) cannot be used: (?P<why>.+)", "地址 {0} 不可用：{1}"),
)
