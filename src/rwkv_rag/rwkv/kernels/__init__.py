"""Compiled loops of the runtime (numba). Know arrays, not models.

Arrays of activations are float32, or bfloat16 held as uint16; arithmetic is float32 either way.
"""
