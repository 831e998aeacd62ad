"""Measuring: retrieval and answers over a file of questions. Knows no model and no store."""
