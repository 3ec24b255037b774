"""Read the images of a request: multipart files, base64 in JSON, or one file as the body."""

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from tlkit._internal.text import show
from tlkit.deployment.serving.limits import MEGABYTE, Limits
from tlkit.deployment.serving.refusal import Refusal, describe
from tlkit.deployment.serving.service import Service, Upload

if TYPE_CHECKING:
    from starlette.requests import Request

_WANTED = (
    'Send files as multipart/form-data, or JSON as {"images": ["<base64>"]}, or the bytes of one '
    "image as image/*"
)
_MAX_FIELDS = 16  # text fields of a form; there should be no such fields


async def read_uploads(request: "Request", service: Service) -> list[Upload]:
    """Return the images of a request.

    Args:
        request: The request, whose body has not been read.
        service: The service, for its limits and its threads.

    Raises:
        Refusal: There is no image, there are too many, they are too large, or their format is
            unknown.
    """
    from starlette.requests import ClientDisconnect

    body = _Body(request, service.limits)
    try:
        async with asyncio.timeout(service.limits.timeout):
            body.check_length()
            uploads = await _choose_reader(request)(body, service)
    except TimeoutError:
        raise Refusal(
            "upload_timeout",
            f"The request must arrive within {service.limits.timeout:g} s. Send smaller images.",
        ) from None
    except ClientDisconnect:
        raise Refusal("incomplete", "The connection ended before the request did.") from None
    _check(uploads, service.limits)
    return uploads


class _Body:
    """The body of a request, read up to a limit."""

    def __init__(self, request: "Request", limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._num_bytes = 0

    def check_length(self) -> None:
        """Refuse a body that is too large by its header, before it is read."""
        if int(self._request.headers.get("content-length", 0)) > self._limits.max_request_bytes:
            raise self._refusal()

    def limited(self) -> "Request":
        """Return the request with a body whose reading fails above the limit."""
        from starlette.requests import Request

        return Request(self._request.scope, receive=self._receive)

    async def _receive(self) -> Any:
        message = await self._request.receive()
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > self._limits.max_request_bytes:
            raise self._refusal()
        return message

    def _refusal(self) -> Refusal:
        most = self._limits.max_request_megabytes
        return Refusal(
            "request_too_large",
            f"A request must have at most {most:g} MB. Send fewer or smaller images.",
        )


_Reader = Callable[[_Body, Service], Coroutine[Any, Any, list[Upload]]]


def _choose_reader(request: "Request") -> _Reader:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _read_multipart
    if kind == "application/json":
        return _read_json
    if kind.startswith("image/"):
        return _read_bytes
    raise Refusal(
        "unsupported_media_type",
        f"{_WANTED}, got {f'the content type {kind!r}' if kind else 'no content type'}.",
    )


async def _read_bytes(body: _Body, service: Service) -> list[Upload]:
    return [Upload(content=await body.limited().body())]


async def _read_multipart(body: _Body, service: Service) -> list[Upload]:
    from starlette.exceptions import HTTPException

    most = service.limits.max_images
    how: Any = {"max_files": most, "max_fields": _MAX_FIELDS}
    try:
        async with body.limited().form(**how) as form:
            uploads = []
            for field, value in form.multi_items():
                if isinstance(value, str):
                    raise Refusal(
                        "invalid_multipart",
                        f"Each field must be a file, got text in {field!r}. Give it a file name.",
                    )
                uploads.append(Upload(content=await value.read(), name=value.filename or None))
            return uploads
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise _refuse_count(f"more than {most:,}", most) from None
        message = f"The form can't be read: {error.detail}"
        raise Refusal("invalid_multipart", message) from None


async def _read_json(body: _Body, service: Service) -> list[Upload]:
    content = await body.limited().body()
    uploads: list[Upload] = await service.in_thread(_parse, content, service.limits.max_images)
    return uploads


def _parse(content: bytes, most: int) -> list[Upload]:
    wanted = 'The body must be JSON such as {"images": ["<base64>", "<base64>"]}'
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal("invalid_json", f"{wanted}, got invalid JSON: {error}.") from None
    texts = values.get("images") if isinstance(values, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        got = (
            f"the keys {sorted(values)[:5]}" if isinstance(values, dict) else type(values).__name__
        )
        raise Refusal("invalid_json", f"{wanted}, got {got}.")
    if len(texts) > most:
        raise _refuse_count(f"{len(texts):,}", most)
    return [Upload(content=_decode(text, at, len(texts))) for at, text in enumerate(texts)]


def _decode(text: str, index: int, count: int) -> bytes:
    """Return the bytes of text in base64, also of a data URL; white space is ignored."""
    head, comma, tail = text.partition(",")
    data = tail if comma and head.startswith("data:") else text
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        which = describe(index, count, None)
        raise Refusal(
            "invalid_base64",
            f"{which} must be in base64, got {show(text[:20])}: {error}.",
            image=index,
        ) from None


def _refuse_count(got: str, most: int) -> Refusal:
    return Refusal(
        "too_many_images",
        f"A request must have at most {most:,} images, got {got}. Send several requests.",
    )


def _check(uploads: Sequence[Upload], limits: Limits) -> None:
    if not uploads:
        raise Refusal("no_images", f"A request must have at least one image, got none. {_WANTED}.")
    for index, upload in enumerate(uploads):
        size = len(upload.content)
        if size > limits.max_image_bytes:
            raise Refusal(
                "image_too_large",
                f"{describe(index, len(uploads), upload.name)} must have at most "
                f"{limits.max_image_megabytes:g} MB, got {size / MEGABYTE:,.1f} MB.",
                image=index,
                name=upload.name,
            )
