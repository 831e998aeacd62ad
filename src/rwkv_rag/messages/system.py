"""What the operating system says, and a name with what is wrong with it; comes last, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # what the operating system says
    (r"Permission denied", "没有权限"),
    (r"No such file or directory", "没有这个文件或目录"),
    (r"Is a directory", "这是目录"),
    (r"Not a directory", "不是目录"),
    (r"Too many levels of symbolic links", "符号链接成环"),
    (r"File name too long", "文件名太长"),
    (r"Read-only file system", "文件系统只读"),
    (r"No space left on device", "磁盘已满"),
    (r"Input/output error", "读写出错"),
    (r"Too many open files", "打开的文件太多"),
    (r"Operation not permitted", "操作不被允许"),
    # a file's name and what is wrong with it; last, since it fits so much
    (r"([^:]+): (?P<why>.+)", "{0}：{1}"),
)
