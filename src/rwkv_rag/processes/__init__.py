"""The processes behind `rwkv-rag up`: routers, workers, the API, the pages, and their supervisor.

    up ─▶ supervisor ─ one ManagedProcess each ─▶ python -m rwkv_rag.processes
          │                                       router, worker or program, as stdin says
          └ `interfaces.Supervision` over the bus, for status, restart and down

    plan        which processes `ragq.yml` asks for, and their addresses; `ports`: whether free
    specs       what a child process is to be, as it travels over its stdin
    child       the child's side: reads its spec, runs it, ends when stdin closes
    process     one process: started, polled until ready, restarted when it dies, stopped
    groups      the processes of one service, or of workers for another machine
    supervisor  all services, in order

Knows how processes are run; what they do is up to `builders`, `api` and `ui`.
"""
