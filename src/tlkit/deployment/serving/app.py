"""The routes of a server: an ASGI app over an exported file."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit._internal import optional
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.deployment.predictor import Predictor
from tlkit.deployment.serving import openapi
from tlkit.deployment.serving.limits import Limits
from tlkit.deployment.serving.refusal import Refusal
from tlkit.deployment.serving.service import Service
from tlkit.deployment.serving.uploads import read_uploads

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

DEFAULT_LIMITS = Limits()
_CONTENT = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE_HEADERS = {
    "Content-Security-Policy": f"{_CONTENT}; img-src blob: data:; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
}


@check_arguments
def create_app(
    predictor: Predictor | str | Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    num_threads: int | None = None,
) -> "FastAPI":
    """Return a FastAPI app that predicts the classes of images.

    `POST /predict` takes files as multipart, base64 in JSON, or the bytes of an image. `/` is a
    page to try it, `/docs` describes the routes, `/openapi.json` does so for programs, `/metadata`
    returns the file's metadata, `/health` shows that the process lives, and `/ready` that it
    accepts requests. The pages load no files from other hosts. Images that wait at the same time
    are predicted as one batch, so one process uses all cores.

    Args:
        predictor: The path of an exported file, or a `Predictor` of one.
        limits: The limits on requests.
        num_threads: How many threads compute a batch; by default as many as there are cores.

    Raises:
        ConfigError: There is no such file, or it does not take images of 1 or 3 channels.
        MissingExtraError: FastAPI or the runtime of the file's format is not installed.

    Examples:
        >>> from tlkit.deployment import create_app
        >>> app = create_app("run/exports/model.onnx")  # doctest: +SKIP
    """
    optional.require("fastapi", extra="serve")
    optional.require("python_multipart", extra="serve")
    from fastapi import FastAPI

    known = predictor
    if not isinstance(known, Predictor):
        known = Predictor(known, num_threads=num_threads, max_pixels=limits.max_pixels)
    service = Service(known, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        service.close()

    app = FastAPI(
        title="tlkit",
        summary="Predicts the classes of images.",
        version=known.metadata.versions.get("tlkit", "0"),
        docs_url=None,  # FastAPI's pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_predict(app, service)
    _add_facts(app, service)
    _add_pages(app)
    _add_handlers(app)
    return app


def _add_predict(app: "FastAPI", service: Service) -> None:
    from fastapi.responses import JSONResponse
    from starlette.requests import Request

    limits = service.limits

    @app.post(
        "/predict",
        summary="Predict the classes of images",
        tags=["predict"],
        openapi_extra=openapi.describe_predict(limits),
        responses=openapi.describe_answers(),
    )
    async def predict(request: Request) -> JSONResponse:
        """Give each image its classes, the most probable first.

        A request is answered as a whole: if one image can't be read, none is predicted.
        """
        if service.num_requests >= limits.max_requests:
            raise Refusal("overloaded", "The server has too much to do. Try again in a second.")
        service.num_requests += 1
        try:
            top = _read_top(request, len(service.predictor.class_names))
            uploads = await read_uploads(request, service)
            found = await service.predict(uploads)
        finally:
            service.num_requests -= 1
        names = [upload.name for upload in uploads]
        rows = zip(names, found, strict=True)
        answers = [{"name": name, **each.to_dict(top)} for name, each in rows]
        return JSONResponse({"predictions": answers})


def _read_top(request: "Request", num_classes: int) -> int:
    text = request.query_params.get("top", str(openapi.DEFAULT_TOP))
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(
            "invalid_parameter", f"top must be a whole number of at least 1, got {show(text)}."
        )
    return min(int(text), num_classes)


def _add_facts(app: "FastAPI", service: Service) -> None:
    from fastapi.responses import JSONResponse

    @app.get(
        "/health",
        summary="Check that the server runs",
        response_description="Counts since the start.",
        tags=["operate"],
    )
    async def health() -> JSONResponse:
        """Return the number of requests, images and batches so far, and of images that wait."""
        return JSONResponse({"status": "ok", **service.to_dict()})

    @app.get(
        "/ready",
        summary="Check that the server takes requests",
        response_description="It takes requests.",
        tags=["operate"],
        responses={503: {"description": "The server is about to stop."}},
    )
    async def ready() -> JSONResponse:
        """After the signal to stop the answer is 503, so that a load balancer sends no more."""
        stopping = service.is_stopping
        status = "stopping" if stopping else "ready"
        return JSONResponse({"status": status}, status_code=503 if stopping else 200)

    @app.get(
        "/metadata",
        summary="Describe the classifier",
        response_description="The metadata of the exported file.",
        tags=["operate"],
    )
    async def metadata() -> JSONResponse:
        """Return the class names, the size of the images, and the run that the file is from."""
        return JSONResponse(service.predictor.metadata.to_dict())


def _add_pages(app: "FastAPI") -> None:
    from fastapi.responses import HTMLResponse

    def show(name: str) -> Callable[[], HTMLResponse]:
        return lambda: HTMLResponse(read_page(name), headers=_PAGE_HEADERS)

    for path, name in {"/": "try.html", "/docs": "docs.html"}.items():
        app.add_api_route(path, show(name), include_in_schema=False, methods=["GET", "HEAD"])


@cache
def read_page(name: str) -> str:
    """Return a page that contains its style sheet.

    Args:
        name: The name of a file in the folder `templates`.
    """
    folder = files(__package__) / "templates"
    style = (folder / "style.css").read_text(encoding="utf-8")
    return (folder / name).read_text(encoding="utf-8").replace("/* style */", style)


def _add_handlers(app: "FastAPI") -> None:
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def answer(refusal: Refusal) -> JSONResponse:
        headers = {"Retry-After": "1"} if refusal.status == 503 else None
        return JSONResponse(refusal.to_dict(), status_code=refusal.status, headers=headers)

    @app.exception_handler(Refusal)
    async def refuse(request: "Request", refusal: Refusal) -> JSONResponse:
        return answer(refusal)

    @app.exception_handler(HTTPException)
    async def explain(request: "Request", error: HTTPException) -> JSONResponse:
        path = request.url.path
        if error.status_code == 405:
            message = f"{path} does not take {request.method}. /docs says what it takes."
            return answer(Refusal("method_not_allowed", message))
        return answer(Refusal("not_found", f"There is no {path}. /docs lists what there is."))

    @app.exception_handler(Exception)
    async def fail(request: "Request", error: Exception) -> JSONResponse:
        return answer(Refusal("failed", "The prediction failed; the server's log says why."))
