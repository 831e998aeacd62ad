"""The processes behind `rwkv-rag up`: routers, workers, the API, the pages, and who watches them.

    up ─▶ supervisor ─ one keeper a process ─▶ python -m rwkv_rag.processes
          │                                     router, worker or program, as told on stdin
          └ control: `interfaces.Supervision` over the bus, for status, restart and down

    plan        which processes `ragq.yml` asks for, and their addresses
    running     HOME/run: the lock, the sockets, what runs where
    keeper      one process: started, asked until it answers, restarted when it dies, stopped
    supervisor  all of them, in order

Knows how processes are run; what they do is `served`'s, `api`'s and `ui`'s.
"""
