"""OpenAI's protocol, as its clients speak it, and rerank in the shape of Jina and Cohere."""
