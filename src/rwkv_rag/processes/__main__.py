"""`python -m rwkv_rag.processes NAME`: a child process of `rwkv-rag up`; see `child`.

NAME is for lists of processes only. Knows nothing itself.
"""

import sys

from rwkv_rag.processes.child import main

if __name__ == "__main__":
    sys.exit(main())
