"""What can go wrong when services are started and stopped, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    (
        r"the services of (.+) run already, in process (.+); "
        r"see rwkv-rag status, or end them with rwkv-rag down",
        "{0} 的服务已在进程 {1} 中运行；用 rwkv-rag status 查看，或用 rwkv-rag down 停止",
    ),
    (
        r"(.+) cannot be used \((?P<why>.+)\); choose another with --home",
        "{0} 无法使用（{1}）；请用 --home 换一个",
    ),
    (r"(.+) cannot be written \((?P<why>.+)\)", "{0} 无法写入（{1}）"),
    (
        r"port (\d+) \((.+)\) is taken by (?P<why>.+); choose another with (.+)",
        "端口 {0}（{1}）已被{2}占用；请用 {3} 换一个",
    ),
    (r"another program", "其他程序"),
    (r"(\S+) \(process (\d+)\)", " {0}（进程 {1}）"),
    (r"port (\d+) \((.+)\) cannot be used \((?P<why>.+)\)", "端口 {0}（{1}）无法使用（{2}）"),
    (r"(.+) is (.+), which is no address of this machine", "{0} 是 {1}，不是本机的地址"),
    (r"(.+) is (.+); this machine knows no such host", "{0} 是 {1}，本机不认识这个主机"),
    (r"there is no service (\S+)", "没有服务 {0}"),
    (r"there is no service (.+); there are: (.+)", "没有服务 {0}；可用的有：{1}"),
    (r"there is no service (.+) to work for; take llm", "没有服务 {0} 可供加入；请用 llm"),
    (r"no service (.+) runs here; there are: (.+)", "这里没有运行服务 {0}；运行中的有：{1}"),
    (
        r"(.+) is not enabled; set (.+) to true in ragq.yml",
        "{0} 未启用；请在 ragq.yml 中把 {1} 设为 true",
    ),
    (
        r"no service is enabled; set llm.enabled to true in ragq.yml",
        "没有启用任何服务；请在 ragq.yml 中把 llm.enabled 设为 true",
    ),
    (
        r"the addresses of (.+) have changed; that takes rwkv-rag down and up",
        "{0} 的地址已改变；需要先 rwkv-rag down 再 rwkv-rag up",
    ),
    (
        r"a service is being restarted; wait until it is ready and try again",
        "正在重启一个服务；请等它就绪后再试",
    ),
    (r"(.+) did not start again: (?P<why>.+)", "{0} 没能重新启动：{1}"),
    (
        r"process (.+) has not stopped yet; wait, or end it with kill",
        "进程 {0} 还没有停止；请再等等，或用 kill 结束它",
    ),
    (r"no worker could be started: (?P<why>.+)", "工作进程无法启动：{0}"),
    (
        r"(.+) takes no workers from other machines: (?P<why>.+)",
        "{0} 不接受其他机器的工作进程：{1}",
    ),
    (
        r"the knowledge bases belong to one process on the machine that has the files",
        "知识库由存放文件的那台机器上的一个进程掌管",
    ),
    (r"its jobs and their files stay on one machine", "任务和文件都在同一台机器上"),
    # what ended a process
    (r"killed by signal (\d+)", "被信号 {0} 结束"),
    (r"exit code (\d+)", "退出码 {0}"),
    (r"not ready after (\d+) s", "{0} 秒后仍未就绪"),
    (r"no order that a child process understands: (.+)", "子进程不理解的指令：{0}"),
    (r"((?:llm|index|tuning|api|ui)[\w-]*): (?P<why>.+)", "{0}：{1}"),
)
