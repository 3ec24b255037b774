"""Run the app in this process until a signal, and then answer all accepted requests."""

import asyncio
import copy
import socket
import warnings
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from PIL import Image

from tlkit._internal import arguments, optional
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.deployment.serving.service import Service
from tlkit.errors import Argument, ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST, PORT = "127.0.0.1", 8000
_BACKLOG = 2048  # connections that the system holds until they are accepted
_PAUSE = 0.2  # seconds in which requests arrive that clients have just sent


@check_arguments
def serve(
    app: "FastAPI",
    *,
    host: str = HOST,
    port: int = PORT,
    stop_delay: float = 1,
    access_log: bool = True,
    on_start: Callable[[str], None] = lambda address: None,
) -> dict[str, Any]:
    """Answer requests until SIGTERM or Ctrl-C; every accepted request gets its answer.

    After the signal `/ready` answers 503, and connections end with their next answer. After
    `stop_delay` no more connections are accepted, and current requests are finished. A second
    signal stops the server at once.

    Args:
        app: The app from `create_app`.
        host: The address to listen on; "0.0.0.0" means all addresses of this machine.
        port: The port; 0 chooses a free one.
        stop_delay: The seconds after the signal in which requests are still accepted, until a load
            balancer sends no more.
        access_log: Whether each request is logged.
        on_start: Is called with the server's address when requests are accepted.

    Returns:
        The numbers of requests, images and batches.

    Raises:
        ConfigError: The server can't listen on this address.
        MissingExtraError: uvicorn is not installed.
    """
    uvicorn = optional.require("uvicorn", extra="serve")
    service: Service = app.state.service
    if not 0 <= stop_delay < float("inf"):
        raise ConfigError(
            Argument("stop_delay"), f" must be a number of at least 0, got {show(stop_delay)}."
        )
    listener = _listen(host, port)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `Limits` sets the limit
    config = uvicorn.Config(
        _end_connections(app, service),
        lifespan="on",
        access_log=access_log,
        log_config=_log_to_stderr(uvicorn),
        backlog=_BACKLOG,
        log_level="info" if access_log else "warning",
    )
    server = _make_server(uvicorn, config, service, stop_delay)
    server.on_start = lambda: on_start(_describe(listener))
    server.run(sockets=[listener])
    return service.to_dict()


def _make_server(uvicorn: Any, config: Any, service: Service, stop_delay: float) -> Any:
    """Return a server that stops without losing requests, and with exit code 0."""

    class Server(uvicorn.Server):
        on_start: Callable[[], None]
        should_exit = force_exit = False

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            self.on_start()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit  # at the second signal
            self.should_exit = True

        async def shutdown(self, sockets: Any = None) -> None:
            service.is_stopping = True
            await self._wait(stop_delay)
            for server in self.servers:
                server.close()
            await self._wait(_PAUSE)  # uvicorn would end connections whose request arrives now
            await super().shutdown(sockets=sockets)
            if self.force_exit:  # uvicorn skips this, which shows a traceback
                await self.lifespan.shutdown()

        async def _wait(self, seconds: float) -> None:
            end = asyncio.get_running_loop().time() + seconds
            while not self.force_exit and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.05)

    return Server(config)


def _log_to_stderr(uvicorn: Any) -> dict[str, Any]:
    """Return uvicorn's settings, changed to log to standard error instead of standard output."""
    settings: dict[str, Any] = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    for handler in settings["handlers"].values():
        handler["stream"] = "ext://sys.stderr"
    return settings


def _end_connections(app: Any, service: Service) -> Any:
    """Return the app, changed to end a connection after its answer once the server is stopping."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def send_last(message: Any) -> None:
            if service.is_stopping and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await app(scope, receive, send_last)

    return wrapped


def _listen(host: str, port: int) -> socket.socket:
    number = arguments.at_least("port", port, 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if number > 65535:
            raise OverflowError("a port is at most 65535")
        listener = socket.create_server((host, number), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            Argument("port"),
            f" must be one that this process can listen on at {host!r}, got {port}: {reason}. "
            "0 takes a free one.",
        ) from error
    # send the parts of an answer at once; asyncio sets this only on sockets that it creates itself
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _describe(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
