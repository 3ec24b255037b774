"""The limits on the requests that a server accepts."""

from dataclasses import dataclass, fields

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments

MEGABYTE = 1_000_000
_WHOLE = ("batch_size", "max_images", "max_pixels", "max_requests")


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits on requests; a request above a limit is refused with an explanation.

    Attributes:
        max_image_megabytes: The maximum size of an image file.
        max_request_megabytes: The maximum size of a request, base64 included.
        max_images: The maximum number of images in a request.
        max_pixels: The maximum height times width of an image.
        max_requests: The maximum number of requests at a time; others must be sent again later.
        batch_size: The maximum number of images in a batch, also from several requests.
        timeout: The seconds that an upload may take, and the seconds that a prediction may take.

    Raises:
        ConfigError: A limit is not above 0.

    Examples:
        >>> Limits(max_images=8).max_images
        8
    """

    max_image_megabytes: float = 10
    max_request_megabytes: float = 32
    max_images: int = 64
    max_pixels: int = 50_000_000
    max_requests: int = 128
    batch_size: int = 32
    timeout: float = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in _WHOLE:
                arguments.at_least(each.name, value, 1)
            else:
                arguments.positive(each.name, value)

    @property
    def max_image_bytes(self) -> int:
        """The maximum size of an image file in bytes."""
        return int(self.max_image_megabytes * MEGABYTE)

    @property
    def max_request_bytes(self) -> int:
        """The maximum size of a request in bytes."""
        return int(self.max_request_megabytes * MEGABYTE)
