"""Messages between callers and objects, in one process or across machines. Knows nothing of RAG.

    caller ─Call─▶ Transport ─▶ router ─▶ worker ─Incoming─▶ Handler
           ◀─────────────── replies, one after another ───────────

A unary call is a stream of one. Errors of ours cross as their `code` and become the same class.
"""
