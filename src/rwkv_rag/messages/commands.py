"""The arguments of a command, in Chinese."""

from __future__ import annotations

CHINESE: tuple[tuple[str, str], ...] = (
    # arguments of a command
    (r"missing argument '(.+)'", "缺少参数 {0}"),
    (r"missing option '(.+)'", "缺少选项 {0}"),
    (r"missing (?:command|parameter.*)", "缺少子命令或参数"),
    (r"no such option:? '?(-[^' ]+)'?(?:\.? Did you mean .+|\.? \(.+\))?", "没有选项 {0}"),
    (r"no such command '(.+?)'(?:\.? Did you mean .+|\.? \(.+\))?", "没有命令 {0}"),
    (r"got unexpected extra arguments?(?:\(s\))? \((.+)\)", "多余的参数：{0}"),
    (r"option '(.+)' requires an argument", "选项 {0} 需要一个值"),
    (r"option '(.+)' does not take a value", "选项 {0} 不带值"),
    (r"invalid value for '(.+?)': (?P<why>.+)", "{0} 的值不可用：{1}"),
    (r"invalid value: (?P<why>.+)", "值不可用：{0}"),
    (r"(.+) is not one of (.+)", "{0} 不在 {1} 之中"),
    (r"(.+) is not in the range (.+)", "{0} 不在 {1} 范围内"),
    (r"input should be less than or equal to (-?[\d.]+)", "不能大于 {0}"),
    (r"input should be greater than or equal to (-?[\d.]+)", "不能小于 {0}"),
    (r"input should be a valid integer.*", "须为整数"),
    (r"(.+) is not a valid int(?:eger)?", "{0} 不是整数"),
    (r"the language (.+) is not zh or en", "{0} 不是 zh 或 en"),
    (r"RWKV_RAG_LANG is (.+); .+", "RWKV_RAG_LANG 是 {0}，可用的语言是 zh 和 en"),
    (r"the limit is (-?\d+); give a whole number from 1", "上限 {0} 不可用，请给不小于 1 的整数"),
)
