"""Addresses, keys and what cannot travel, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # values and messages
    (r"a value cannot be sent: (?P<why>.+)", "数据无法发送：{0}"),
    (r"a message cannot be read: (?P<why>.+)", "消息无法读取：{0}"),
    (r"it holds text with half a character", "其中的文字含有不完整的字符"),
    (
        r"a message of (\d+) MB is over the limit of (\d+) MB; send less",
        "消息有 {0} MB，超过 {1} MB 的上限，请分次发送",
    ),
    (r"the arguments of (\w+) do not fit: (?P<why>.+)", "{0} 的参数不符：{1}"),
    (r"the connection was closed; open it again", "连接已关闭，请重新打开"),
    # addresses
    (
        r"the address (.+) must be tcp://HOST:PORT, ipc:///PATH or inproc://NAME",
        "地址 {0} 须为 tcp://主机:端口、ipc:///路径 或 inproc://名称",
    ),
    (r"the address (.+) has no name; write inproc://NAME", "地址 {0} 没有名称，应为 inproc://名称"),
    (
        r"the address (.+) has no port; write tcp://HOST:PORT",
        "地址 {0} 没有端口，应为 tcp://主机:端口",
    ),
    (
        r"the address (.+) has no usable host; write tcp://HOST:PORT",
        "地址 {0} 没有可用的主机，应为 tcp://主机:端口",
    ),
    (
        r"the port of (.+) must be a number from 0 to (\d+)",
        "{0} 的端口须为 0 到 {1} 之间的整数",
    ),
    (
        r"the address (.+) needs the whole path of a file: ipc:///PATH",
        "地址 {0} 须写出文件的完整路径：ipc:///路径",
    ),
    (
        r"the address (.+) has a path of (\d+) bytes; sockets take (\d+): choose a shorter"
        r" directory with --home, or tcp",
        "地址 {0} 的路径有 {1} 字节，套接字最多 {2} 字节；请用 --home 换个短些的目录，或改用 tcp",
    ),
    # keys
    (
        r"(.+) is not on this machine alone and needs keys; make them with `rwkv-rag keys`, or use"
        r" 127\.0\.0\.1",
        "{0} 不限于本机，需要密钥；用 `rwkv-rag keys` 生成，或改用 127.0.0.1",
    ),
    (
        r"(.+) does not accept the keys of this side; make new ones there with `rwkv-rag keys add`",
        "{0} 不接受这一方的密钥；请在那台机器上用 `rwkv-rag keys add` 重新生成",
    ),
    (
        r"the key of this side is not accepted any more; make a new one with `rwkv-rag keys add`",
        "这一方的密钥已不被接受；请用 `rwkv-rag keys add` 重新生成",
    ),
    (
        r"(.+) asks for keys; make them there with `rwkv-rag keys add`",
        "{0} 需要密钥；请在那台机器上用 `rwkv-rag keys add` 生成",
    ),
    (
        r"there are no keys in (.+); make them with `rwkv-rag keys`",
        "{0} 中没有密钥，请用 `rwkv-rag keys` 生成",
    ),
    (
        r"(.+) can be read by others and is not safe to use; run chmod 600 .+",
        "其他用户可以读取 {0}，不安全；请运行 chmod 600 {0}",
    ),
    (r"the key (.+) cannot be read: (?P<why>.+)", "密钥 {0} 无法读取：{1}"),
    (
        r"(.+) holds no key; make one with `rwkv-rag keys add`",
        "{0} 中没有密钥，请用 `rwkv-rag keys add` 生成",
    ),
    (
        r"(.+) is the key of no peer; make one with `rwkv-rag keys add` where the services are",
        "{0} 不是用于连接的密钥，请在服务所在的机器上用 `rwkv-rag keys add` 生成",
    ),
    (
        r"(.+) has a key already; remove it first, or choose another name",
        "{0} 已有密钥；请先移除，或换个名称",
    ),
    (
        r"(.+) is there already; choose another file with --out",
        "{0} 已存在，请用 --out 换个文件",
    ),
    (
        r"the name (.+) cannot be used; take letters, digits, '-', '_' and '\.'",
        "名称 {0} 不可用，请用字母、数字、“-”、“_” 和 “.”",
    ),
    (r"no key is called (.+); there are: none", "没有名为 {0} 的密钥；现在还没有任何密钥"),
    (r"no key is called (.+); there are: (.+)", "没有名为 {0} 的密钥；有：{1}"),
    (r"the key (.+) cannot be removed: (?P<why>.+)", "密钥 {0} 无法移除：{1}"),
    (r"(.+) cannot be made: (?P<why>.+)", "无法建立 {0}：{1}"),
    (r"(.+) cannot be written: (?P<why>.+)", "无法写入 {0}：{1}"),
)
