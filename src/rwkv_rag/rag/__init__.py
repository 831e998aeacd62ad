"""Answering: from a question to a cited answer. Knows Protocols, no model and no store."""
