"""The command `tlkit serve`: a classifier as an HTTP server, or as a folder for a container.

The signature and docstring give options and help, the body does the work.
"""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import tlkit
from tlkit._internal.text import plural
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, Output
from tlkit.deployment.serving.limits import Limits

LimitOptions = Annotated[Limits, Parameter(name="*")]  # each field is an option
_DEFAULT_LIMITS = Limits()


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: LimitOptions = _DEFAULT_LIMITS,
    num_threads: int | None = None,
    stop_delay: float = 1,
    access_log: Annotated[bool, Parameter(negative="--no-access-log")] = True,
    write: Path | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Serve a classifier over HTTP: POST /predict, a page to try it, OpenAPI.

    Args:
        model: A run's folder, a .keras file, or an exported file; a run is exported first.
        host: Address to listen on; 0.0.0.0 is all of this machine's.
        port: Port to listen on; 0 takes a free one.
        limits: How much is accepted.
        num_threads: Threads of the network; by default as many as there are cores.
        stop_delay: Seconds in which requests are still accepted after SIGTERM or Ctrl-C.
        access_log: Log each request.
        write: Serve nothing, but write a Dockerfile and all that it needs to this new folder.
    """
    checks.check_model(model)
    file = tlkit.experiments.find_served_file(model, on_message=output.print)
    if write is not None:
        folder = tlkit.deployment.write_container(file, write)
        output.print(f"wrote {folder}: docker build -t classifier {folder}")
        return {"folder": str(folder), "model": str(file)}
    app = tlkit.deployment.create_app(file, limits=limits, num_threads=num_threads)
    done = tlkit.deployment.serve(
        app,
        host=host,
        port=port,
        stop_delay=stop_delay,
        access_log=access_log,
        on_start=lambda address: output.print(
            f"serving {file} at {address} until Ctrl-C; the API: {address}/docs"
        ),
    )
    requests, images = plural(done["requests"], "request"), plural(done["images"], "image")
    output.print(f"stopped after {requests} with {images}")
    return {"model": str(file), **done}
