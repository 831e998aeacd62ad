"""The library: documents in, ranked hits out. Knows no torch, no prompt and no answer.

SQLite (`catalog`) is the truth; the lexical index lives in the same file and the vector index is
derived from it. `library.Library` is the door to all of it.
"""
