"""RWKV-RAG: ask your own documents, on your own machine, and check every quoted source.

Importing the package does nothing and loads no heavy library; `rwkv_rag.app` builds the objects.
"""

__version__ = "0.1.0"
