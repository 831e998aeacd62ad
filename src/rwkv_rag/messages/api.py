"""What HTTP requests and the server itself can go wrong with, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # the server
    (r"the API needs .+", "HTTP 接口需要 FastAPI；请安装：pip install 'rwkv-rag[api]'"),
    (
        r"the API would listen on (.+) without a token; .+",
        "HTTP 接口将在 {0} 上监听，却没有令牌；请设置令牌，或只监听 127.0.0.1",
    ),
    (r"the token of the API is too weak; .+", "HTTP 接口的令牌太弱；至少要 16 个 ASCII 字符"),
    (r"(.+) cannot be used as the token \((?P<why>.+)\)", "{0} 不能用作令牌文件（{1}）"),
    (r"(.+) can be read by others; run: (.+)", "{0} 可被他人读取；请运行：{1}"),
    (r"(.+) is empty; delete it and a new token is made", "{0} 是空的；删除后会重新生成令牌"),
    (r"(.+) is no address of this machine; use 127\.0\.0\.1", "{0} 不是本机的地址；请用 127.0.0.1"),
    (r"port (\d+) is used by another program; .+", "端口 {0} 已被其他程序占用；请用 --port 换一个"),
    (
        r"the API cannot listen on (.+) \((?P<why>.+)\); choose another address",
        "无法在 {0} 上监听（{1}）；请换一个地址",
    ),
    # who may ask
    (
        r"this server needs a token; .+",
        "这个服务器需要令牌；请在请求头 Authorization 中给出 Bearer 和令牌",
    ),
    (r"the token is not this server's; .+", "令牌不对；见服务器上的 HOME/keys/api.token"),
    (
        r"this server does not answer to the name (.+); use 127\.0\.0\.1",
        "这个服务器不以 {0} 为名；请用 127.0.0.1",
    ),
    (r"pages of (.+) may not use this server; .+", "{0} 的网页不能使用这个服务器；请从程序中调用"),
    (r"the request is larger than ([\d,]+) bytes, .+", "请求超过 {0} 字节的上限；请减少内容"),
    (
        r"the upload has (\d+) files; the limit is (\d+): .+",
        "上传了 {0} 个文件，上限是 {1}；请分几次",
    ),
    (
        r"paths of the server may not be named; .+",
        "不能使用服务器上的路径；请上传文件，或在启动服务器时加上 --folder 目录",
    ),
    (r"(.+) is not below a folder that this server may read", "{0} 不在服务器可以读取的目录之内"),
    # addresses and fields
    (r"there is nothing at this address; see /docs", "这个地址没有内容；见 /docs"),
    (r"this address does not take that method; see /docs", "这个地址不支持该请求方法；见 /docs"),
    (r"the request cannot be read", "无法读取请求"),
    (r"the request is too large", "请求太大"),
    (r"a mistake in the program; .+", "程序出错；详见服务器的日志"),
    (r"there is no such field", "没有这个字段"),
    (r"this field is required", "缺少这个字段"),
    (r"give a text", "应为文本"),
    (r"give true or false", "应为 true 或 false"),
    (r"give a whole number", "应为整数"),
    (r"give a number", "应为数字"),
    (r"give a finite number", "应为有限的数字"),
    (r"give a list", "应为列表"),
    (r"give an object", "应为对象"),
    (r"leave it out", "请去掉"),
    (r"give one of (.+)", "应为 {0} 之一"),
    (r"give at least (-?[\d.e+]+)", "不能小于 {0}"),
    (r"give more than (-?[\d.e+]+)", "应大于 {0}"),
    (r"give at most (-?[\d.e+]+)", "不能大于 {0}"),
    (r"give less than (-?[\d.e+]+)", "应小于 {0}"),
    (r"give at least (\d+) characters", "至少要 {0} 个字符"),
    (r"give at most (\d+) characters", "最多 {0} 个字符"),
    (r"give at least (\d+) of them", "至少要 {0} 个"),
    (r"give at most (\d+) of them", "最多 {0} 个"),
    (r"the body is not JSON", "请求正文不是 JSON"),
    (r"the body is missing", "缺少请求正文"),
    (r"it cannot be used", "不能使用"),
    (r"the name is empty or has characters that cannot be shown", "名称是空的，或含有不可见的字符"),
    # models and conversations
    (r"there is no model (.+) to tune; there are: (.+)", "没有可以微调的模型 {0}；有：{1}"),
    (r"there is no model (.+); there are: (.+)", "没有模型 {0}；有：{1}"),
    (r"there is no embedding model (.+); there are: (.+)", "没有向量模型 {0}；有：{1}"),
    (r"there is no reranking model (.+); there are: (.+)", "没有重排模型 {0}；有：{1}"),
    (
        r"the model names the knowledge base (.+) and knowledge_base another, (.+); name one",
        "模型名指的知识库是 {0}，knowledge_base 却是 {1}；请只指一个",
    ),
    (r"the model names a knowledge base, (.+); leave it out here", "模型名带有知识库 {0}；请去掉"),
    (r"(\w+) is not supported here; leave it out", "不支持 {0}；请去掉"),
    (r"messages of the role (.+) are not supported here", "不支持角色为 {0} 的消息"),
    (
        r"content of the type (.+) is not supported here; send text",
        "不支持类型为 {0} 的内容；请发文本",
    ),
    (r"the last message is not the user's; .+", "最后一条消息不是用户的；请以问题结尾"),
    (
        r"stop has (\d+) texts, the longest of (\d+) characters; the limits are (\d+) and (\d+)",
        "stop 有 {0} 条，最长 {1} 个字符；上限是 {2} 条、{3} 个字符",
    ),
    (
        r"the model (.+) cannot write in its own words; .+ the model (.+), or .+",
        "模型 {0} 不会自己组织文字；请用模型名 {1} 向知识库提问，或换一个会写的模型",
    ),
    (
        r"the conversation is longer than ([\d,]+) tokens, .+",
        "对话超过 {0} 个 token 的上限；请去掉开头的部分",
    ),
    # vectors
    (
        r"dimensions is (\d+), but the vectors of (.+) have (\d+) numbers; leave it out",
        "dimensions 是 {0}，而 {1} 的向量有 {2} 个数；请去掉",
    ),
    (r"input has (\d+) texts; give from 1 to ([\d,]+)", "input 有 {0} 条文本；应为 1 到 {1} 条"),
    (r"input has token ids, which .+", "input 是 token 编号，属于别的模型；请发文本"),
    (r"text (\d+) is empty; leave it out", "第 {0} 条文本是空的；请去掉"),
    (
        r"text (\d+) has ([\d,]+) characters; the limit is ([\d,]+): split it",
        "第 {0} 条文本有 {1} 个字符，上限是 {2}；请拆分",
    ),
    # fine-tuning and services
    (
        r"give the training rows as rows, or a file as data",
        "请用 rows 给出训练数据，或用 data 给出文件",
    ),
    (
        r"no services run here: .+",
        "这里没有服务在运行，全部由本服务器完成；请用 `rwkv-rag up` 启动服务",
    ),
    (r"the API cannot restart itself; .+", "HTTP 接口不能重启自己；请用命令 `restart api`"),
    (r"there is no job (.+)", "没有任务 {0}"),
    (r"no answer yet", "还没有回应"),
    (r"it failed", "出错了"),
)
