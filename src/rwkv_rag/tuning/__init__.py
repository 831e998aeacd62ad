"""Data to weights: the differentiable RWKV-7 network, its optimiser and its training loop.

Knows no retrieval and no prompts; what the rows of a batch mean is the caller's business.
"""
