"""Runs the API in this process: listens, opens the client, closes in order. Knows no route."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from rwkv_rag.api.options import Options
from rwkv_rag.config import Settings
from rwkv_rag.errors import Busy, InputError, MissingExtra, ServiceError, system_reason

if TYPE_CHECKING:
    import uvicorn

GRACE_S = 5  # for answers under way when the server ends
MAX_CONNECTIONS = 1000


def serve(settings: Settings, options: Options) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises MissingExtra, Busy for a port in use, InputError for an address that is not this
    machine's, and the error of a model of the user's own.
    """
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn

        from rwkv_rag.api import application
    except ImportError as error:
        raise MissingExtra(
            "the API needs FastAPI; install it with: pip install 'rwkv-rag[api]'"
        ) from error
    from rwkv_rag import app

    with closing(bound_socket(options)) as listener, app.open_client(settings) as client:
        with suppress(ServiceError, Busy):  # a service may be restarting: see `/ready`
            client.pipeline()  # so that the error of a model is raised now
        config = uvicorn.Config(
            application.create(settings, options, client),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=MAX_CONNECTIONS,
            lifespan="on",
            ws="none",
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly end
            _run(config, listener)


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Logs where it listens as soon as it handles signals."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            logging.getLogger("rwkv_rag.api").info("listening on %s", url(listener))

    Server(config).run(sockets=[listener])


def bound_socket(options: Options) -> socket.socket:
    """A socket that listens already; bound before anything is loaded, for an early error."""
    try:
        found = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(
            "{host} is no address of this machine; use 127.0.0.1", host=options.host
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _not_bound(error, options) from error
    return listener


def _not_bound(error: OSError, options: Options) -> Busy | InputError:
    if error.errno == errno.EADDRINUSE:
        return Busy(
            "port {port} is used by another program; end it or choose another with --port",
            port=options.port,
        )
    return InputError(
        "the API cannot listen on {host}:{port} ({reason}); choose another address",
        host=options.host,
        port=options.port,
        reason=system_reason(error),
    )


def url(listener: socket.socket) -> str:
    """The address for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
