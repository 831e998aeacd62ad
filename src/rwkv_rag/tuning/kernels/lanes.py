"""Sixteen floats as one value inside compiled loops.

A compiler that has to prove that arrays do not overlap gives up on loops over many of them, or
keeps sums in memory; values in registers leave it nothing to prove. Sixteen fill one AVX-512
register, and are split into halves or quarters where registers are smaller. They are taken from
and put to a `start` of an array, since an array given to a function counts its references; `hold`
the array until the last use of its start. Knows no arithmetic of models.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

F = TypeVar("F", bound=Callable[..., Any])

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)
_HALF = ir.VectorType(ir.IntType(16), LANES)
_WHOLE = 12582912.0  # 1.5 * 2**23
types: Any = numba.types  # whose types, where there are any, change
_PrimitiveModel: Any = models.PrimitiveModel
_declared: Any = cgutils.get_or_insert_function
_njit: Any = numba.njit  # its typed overloads know no options given as a dict
_LOOSE = ("reassoc", "contract", "nsz")


def compiled(function: F) -> F:
    """A function that compiled loops call."""
    return cast(F, _njit(cache=True, nogil=True, error_model="numpy")(function))


def parallel(function: F) -> F:
    """A compiled loop whose `prange` turns are shared among threads."""
    options = {"parallel": True, "error_model": "numpy"}
    return cast(F, _njit(cache=True, nogil=True, **options)(function))


class _Lanes(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes: Any = _Lanes()


@register_model(_Lanes)
class _Model(_PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _start(_context: Any, array: Any) -> Any:
    """Where a flat array's elements begin."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        return context.make_array(array)(context, builder, given[0]).data

    return types.CPointer(array.dtype)(array), generate


def _hold(_context: Any, array: Any) -> Any:
    """Nothing; but up to here an array lives whose start was taken."""
    return types.none(array), lambda context, *_: context.get_dummy_value()


def _place(builder: Any, given: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(given[0], [given[1]]), ir.PointerType(vector))


def _take(_context: Any, start: Any, index: Any) -> Any:
    """Sixteen elements from `index` on."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        if start.dtype == types.float32:
            return builder.load(_place(builder, given, _VECTOR), align=4)
        found = builder.load(_place(builder, given, _HALF), align=2)
        shift = ir.Constant(_BITS, [16] * LANES)
        return builder.bitcast(builder.shl(builder.zext(found, _BITS), shift), _VECTOR)

    return lanes(start, types.intp), generate


def _put(_context: Any, start: Any, index: Any, value: Any) -> Any:
    """Sixteen elements from `index` on become `value`, rounded where they are bfloat16."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        if start.dtype == types.float32:
            builder.store(given[2], _place(builder, given, _VECTOR), align=4)
        else:
            half = _rounded(builder, given[2])
            builder.store(half, _place(builder, given, _HALF), align=2)
        return context.get_dummy_value()

    return types.none(start, types.intp, lanes), generate


def _get(_context: Any, start: Any, index: Any) -> Any:
    """One float."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.load(builder.gep(given[0], [given[1]]))

    return types.float32(start, types.intp), generate


def _set(_context: Any, start: Any, index: Any, value: Any) -> Any:
    """One float becomes `value`."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        builder.store(given[2], builder.gep(given[0], [given[1]]))
        return context.get_dummy_value()

    return types.none(start, types.intp, types.float32), generate


def _rounded(builder: Any, value: Any) -> Any:
    """The nearest bfloat16s; NaN stays NaN."""

    def fill(number: int) -> Any:
        return ir.Constant(_BITS, [number] * LANES)

    bits = builder.bitcast(value, _BITS)
    even = builder.and_(builder.lshr(bits, fill(16)), fill(1))
    nearest = builder.lshr(builder.add(builder.add(bits, fill(0x7FFF)), even), fill(16))
    number = builder.fcmp_ordered("ord", value, value)
    return builder.trunc(builder.select(number, nearest, fill(0x7FC0)), _HALF)


def _fill(_context: Any, number: Any) -> Any:
    """One float in all places."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(empty, given[0], ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, empty, first)

    return lanes(types.float32), generate


def _binary(operation: str) -> Any:
    def operate(_context: Any, left: Any, right: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
            return getattr(builder, operation)(*given, flags=_LOOSE)

        return lanes(lanes, lanes), generate

    return intrinsic(operate)


def _power_of_two(_context: Any, shifted: Any) -> Any:
    """2 ** n, where n stands in the lowest bits of the mantissa."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        bits = builder.shl(builder.bitcast(given[0], _BITS), ir.Constant(_BITS, [23] * LANES))
        one = ir.Constant(_BITS, [0x3F800000] * LANES)
        return builder.bitcast(builder.add(bits, one), _VECTOR)

    return lanes(lanes), generate


def _nearest_whole(_context: Any, x: Any) -> Any:
    """x + 1.5 * 2**23, which holds the nearest whole number; no flag may undo the sum."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.fadd(given[0], ir.Constant(_VECTOR, [_WHOLE] * LANES))

    return lanes(lanes), generate


def _whole_of(_context: Any, shifted: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.fsub(given[0], ir.Constant(_VECTOR, [_WHOLE] * LANES))

    return lanes(lanes), generate


def _limited(operation: str, predicate: str) -> Any:
    """The smaller (`<`) or greater of two; NaN on the left stays."""

    def operate(_context: Any, left: Any, right: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
            beyond = builder.fcmp_ordered(predicate, given[0], given[1])
            return builder.select(beyond, given[1], given[0])

        return lanes(lanes, lanes), generate

    operate.__name__ = operation
    return intrinsic(operate)


def _total(_context: Any, value: Any) -> Any:
    """The sum of the sixteen."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        reduce = _declared(builder.module, kind, name)
        zero = ir.Constant(ir.FloatType(), 0.0)
        return builder.call(reduce, [zero, given[0]], fastmath=_LOOSE)

    return types.float32(lanes), generate


start: Any = intrinsic(_start)
hold: Any = intrinsic(_hold)
take: Any = intrinsic(_take)
put: Any = intrinsic(_put)
get: Any = intrinsic(_get)
set_one: Any = intrinsic(_set)
fill: Any = intrinsic(_fill)
total: Any = intrinsic(_total)
at_most: Any = _limited("at_most", ">")
at_least: Any = _limited("at_least", "<")
_sum: Any = _binary("fadd")
_difference: Any = _binary("fsub")
_product: Any = _binary("fmul")  # with a sum behind it: fused into one
_quotient: Any = _binary("fdiv")
_shifted: Any = intrinsic(_nearest_whole)
_whole: Any = intrinsic(_whole_of)
_power: Any = intrinsic(_power_of_two)


@overload(operator.add)
def _add(left, right):  # type: ignore[no-untyped-def]  # numba compares bare signatures
    if left is lanes and right is lanes:
        return lambda left, right: _sum(left, right)
    return None


@overload(operator.sub)
def _sub(left, right):  # type: ignore[no-untyped-def]
    if left is lanes and right is lanes:
        return lambda left, right: _difference(left, right)
    return None


@overload(operator.mul)
def _mul(left, right):  # type: ignore[no-untyped-def]
    if left is lanes and right is lanes:
        return lambda left, right: _product(left, right)
    return None


@overload(operator.truediv)
def _div(left, right):  # type: ignore[no-untyped-def]
    if left is lanes and right is lanes:
        return lambda left, right: _quotient(left, right)
    return None


@compiled
def number(value: float) -> Any:
    """A constant in all places."""
    return fill(np.float32(value))


@compiled
def exp(x: Any) -> Any:
    """e ** x, to 2 units in the last place."""
    x = at_most(at_least(x, number(-87.0)), number(88.0))
    shifted = _shifted(x * number(1.44269504))
    whole = _whole(shifted)
    rest = x - whole * number(0.693359375) + whole * number(2.12194440e-4)
    series = number(1.98756912e-4) * rest + number(1.39819996e-3)
    series = series * rest + number(8.33345205e-3)
    series = series * rest + number(4.16657962e-2)
    series = series * rest + number(1.66666657e-1)
    series = series * rest + number(0.5)
    return (series * rest * rest + rest + number(1.0)) * _power(shifted)


@compiled
def sigmoid(x: Any) -> Any:
    return number(1.0) / (number(1.0) + exp(number(0.0) - x))
