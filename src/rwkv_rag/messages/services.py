"""What services and the way to them can go wrong with, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # what may be called
    (r"this service has no (.+); it has (.+)", "这个服务没有 {0}；有：{1}"),
    (r"(\w+) has no method (.+); it has (.+)", "{0} 没有方法 {1}；有：{2}"),
    (r"(\w+) cannot be bound to (.+)", "{0} 不能绑定 {1}"),
)
