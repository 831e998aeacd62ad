"""What runs in each process of `rwkv-rag up`: routers, workers, and the supervisor over them."""
