"""`iqe serve`: one encoder behind OpenAI's `/v1/embeddings`."""
