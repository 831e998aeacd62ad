"""Runs the API in this process: opens the parts, listens, closes in order. Knows no route."""

from __future__ import annotations

import logging
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from rwkv_rag.api.options import Options
from rwkv_rag.config import Settings
from rwkv_rag.errors import Busy, InputError, MissingExtra, ServiceError, system_reason

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from rwkv_rag.app import Client

GRACE_S = 5  # for answers under way when the server ends
CONNECTIONS = 1000


def serve(settings: Settings, options: Options) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises MissingExtra, Busy for a port in use, InputError for an address that is not this
    machine's, and what is wrong with a model of the user's own before anything listens.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingExtra(
            "the API needs FastAPI; install it with: pip install 'rwkv-rag[api]'"
        ) from error
    from rwkv_rag import app

    with closing(listening(options)) as listener, app.open_client(settings) as parts:
        with suppress(ServiceError, Busy):  # a service may be starting anew: `/ready` tells
            parts.pipeline()  # what is wrong with a model is said at once
        application = assembled(settings, options, parts)
        config = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=CONNECTIONS,
            lifespan="on",
            ws="none",
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises it anew after an orderly end
            _run(config, listener)


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it listens once signals reach it: whoever reads that may send one."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            logging.getLogger("rwkv_rag.api").info("listening on %s", url(listener))

    Server(config).run(sockets=[listener])


def assembled(settings: Settings, options: Options, parts: Client) -> FastAPI:
    """The application over open parts."""
    from rwkv_rag.api import application
    from rwkv_rag.api.context import Context
    from rwkv_rag.api.measures import Measures
    from rwkv_rag.api.readiness import Readiness

    return application.create(
        Context(
            parts=parts,
            options=options,
            language=settings.language,
            home=settings.home,
            measures=Measures(parts.supervision),
            readiness=Readiness(parts),
            supervision=parts.supervision,
        )
    )


def listening(options: Options) -> socket.socket:
    """A socket that is bound before anything is loaded, so that a used port is said at once."""
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
    import errno

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
