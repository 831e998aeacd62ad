"""Compiled loops of training on a CPU (numba): forwards, and backwards by hand.

They know arrays, neither modules nor autograd. Arrays that come from or go to a matrix product are
bfloat16 held as uint16; everything else, and all arithmetic, is float32.
"""
