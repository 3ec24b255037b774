"""An answer that is not a prediction: HTTP status, a code for programs, a message for people."""

from typing import Any

CODES = {
    400: ("incomplete", "invalid_json", "invalid_multipart"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("upload_timeout",),
    413: ("image_too_large", "request_too_large", "too_many_images"),
    415: ("unsupported_media_type",),
    422: ("invalid_base64", "invalid_parameter", "no_images", "not_an_image"),
    500: ("failed",),
    503: ("overloaded",),
    504: ("prediction_timeout",),
}
"""The codes of each status."""

_STATUS = {code: status for status, codes in CODES.items() for code in codes}


class Refusal(Exception):  # noqa: N818  # an answer, which never leaves the server as an error
    """An answer to a request that gets no prediction.

    Args:
        code: One of `CODES`, which decides the HTTP status.
        message: The explanation: the expected value, the received one, and a fix.
        image: The index of the wrong image, if an image is wrong.
        name: The name of this image's file.
    """

    def __init__(
        self, code: str, message: str, *, image: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.image, self.name = image, name

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the answer."""
        where = {"image": self.image, "name": self.name}
        known = {key: value for key, value in where.items() if value is not None}
        return {"error": {"code": self.code, "message": self.message, **known}}


def describe(index: int, count: int, name: str | None) -> str:
    """Return text that names an image of a request.

    Examples:
        >>> describe(1, 3, "notes.txt"), describe(0, 1, None)
        ("Image 2 of 3, 'notes.txt',", 'The image')
    """
    which = "The image" if count == 1 else f"Image {index + 1} of {count}"
    return which if name is None else f"{which}, {name!r},"
