"""Facts about a backbone that are known before its weights are loaded."""

from dataclasses import dataclass
from typing import Literal

from tlkit.errors import Argument, ConfigError
from tlkit.models.layers import Interpolation
from tlkit.models.pixels import PixelFormat

Kind = Literal["file", "keras.applications", "model", "preset"]


@dataclass(frozen=True, kw_only=True)
class BackboneSource:
    """The source of a backbone, and which images the backbone expects.

    Attributes:
        name: The backbone's name, file, folder or address, as the caller passed it.
        kind: Whether it is one of keras.applications, in a `.keras` file, a preset of KerasHub, or
            a model.
        image_size: Height and width of its images: the caller's, or else those that its weights
            were trained at.
        pixels: The pixels that it expects; None if they are unknown.
        interpolation: How images are resized for it.
        pixels_from: The source of `pixels`, for messages.
        hint: A sentence that helps to find out the pixels if they are unknown.
    """

    name: str
    kind: Kind
    image_size: tuple[int, int]
    pixels: PixelFormat | None
    interpolation: Interpolation = "bilinear"
    pixels_from: str = "its ImageNet weights"
    hint: str = ""

    def __str__(self) -> str:
        """Return one line that describes the source and the images."""
        kinds = {"file": "a .keras file", "preset": "a preset of KerasHub"}
        size = "{} x {}".format(*self.image_size)
        return (
            f"backbone {self.name} ({kinds.get(self.kind, self.kind)}): images of {size} pixels, "
            f"values {self.pixels} ({self.pixels_from})"
        )

    def require_pixels(self) -> PixelFormat:
        """Return the pixels that the backbone expects.

        Raises:
            ConfigError: They are unknown; no default is assumed.
        """
        if self.pixels is not None:
            return self.pixels
        case = {
            "file": f"if neither a file nor its first layers say so, as {self.name!r}",
            "preset": f"if a preset has no image converter, as {self.name!r}",
        }.get(self.kind, "if the backbone is a model")
        raise ConfigError(
            Argument("pixels"),
            f" must be what the backbone takes {case}. For example 'unit' (0 to 1), 'signed' (-1 "
            "to 1), 'byte' (0 to 255), 'torch' (0 to 1, normalised by the "
            f"means of ImageNet) or 'caffe' (as resnet50 and vgg16).{self.hint}",
        )
