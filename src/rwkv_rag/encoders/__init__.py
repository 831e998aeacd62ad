"""Text to vectors, scores and spans: the roles of a base model behind the Protocols.

Knows models and texts; nothing of knowledge bases, prompts or answers.
"""
