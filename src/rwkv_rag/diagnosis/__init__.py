"""What `rwkv-rag doctor` looks at: this machine, what is installed, the settings, the stored data.

Each check is a function that yields findings and changes nothing; `checks` runs them in order.
Knows no terminal.
"""
