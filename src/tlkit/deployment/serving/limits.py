"""How much a server accepts."""

from dataclasses import dataclass, fields

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments

MEGABYTE = 1_000_000
_WHOLE = ("batch_size", "max_images", "max_pixels", "max_requests")


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a server accepts; what is above a limit is refused with a clear answer.

    Attributes:
        max_image_megabytes: Size of an image file.
        max_request_megabytes: Size of a request, base64 included.
        max_images: Images in a request.
        max_pixels: Height times width of an image.
        max_requests: Requests at a time; further ones are told to come again.
        batch_size: Images that the network takes at a time, also from several requests.
        timeout: Seconds that an upload may take, and seconds that a prediction may take.

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
        """Bytes of an image file."""
        return int(self.max_image_megabytes * MEGABYTE)

    @property
    def max_request_bytes(self) -> int:
        """Bytes of a request."""
        return int(self.max_request_megabytes * MEGABYTE)
