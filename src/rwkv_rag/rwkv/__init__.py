"""RWKV-7 models: token ids in, logits, hidden states and text out. Knows no documents."""
