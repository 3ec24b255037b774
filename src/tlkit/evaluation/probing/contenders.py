"""Build the classifiers of the backbones to compare, at each image size."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tlkit._internal import arguments, text
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DownloadError
from tlkit.evaluation.probing.candidates import BackboneCandidate
from tlkit.evaluation.probing.search_result import LeftOutBackbone
from tlkit.models.builder import build_classifier
from tlkit.models.inspection import backbone_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """A candidate at one image size, with its classifier."""

    candidate: BackboneCandidate
    model: keras.Model
    image_size: tuple[int, int]

    @property
    def name(self) -> str:
        """The backbone, with its options, and the size."""
        return f"{self.candidate} at {'x'.join(map(str, dict.fromkeys(self.image_size)))} px"


def build_all(
    candidates: Sequence[BackboneCandidate],
    image_sizes: Sequence[int | tuple[int, int]],
    data: ImageDataset,
    left_out: list[tuple[LeftOutBackbone, Exception]],
) -> list[Contender]:
    """Build the classifier of each candidate at each size, before images are read.

    Args:
        candidates: The backbones.
        image_sizes: Sizes for candidates without sizes of their own; if empty, the usual size of
            each backbone.
        data: The images to compare them on.
        left_out: A list to which each candidate that can't be built is added, with the error.

    Raises:
        ConfigError: A candidate is wrong, or no candidate can be built at any size.
        DownloadError: No candidate is left, and the first lacks weights that can't be downloaded.
    """
    found = []
    for candidate in candidates:
        for size in candidate.image_sizes or image_sizes or (None,):
            try:
                found.append(_build(candidate, size, data))
            except (ConfigError, DownloadError) as error:
                if isinstance(error, ConfigError) and error.argument != "image_size":
                    raise
                at = "" if isinstance(error, DownloadError) else f" at {size} px"
                reason = LeftOutBackbone(candidate=f"{candidate}{at}", reason=str(error))
                left_out.append((reason, error))
                if isinstance(error, DownloadError):
                    break
    if not found:
        raise nothing_left(left_out)
    return found


def _build(
    candidate: BackboneCandidate, image_size: int | tuple[int, int] | None, data: ImageDataset
) -> Contender:
    shape = data.images.shape[1:] if len(data.images.shape) == 4 else (*data.images.shape[1:], 1)
    if isinstance(data.images, LazyImages):  # these are read again at each size
        shape = (None, None, shape[-1])
    named = isinstance(candidate.backbone, str)
    model = build_classifier(
        candidate.backbone,
        len(data.class_names),
        input_shape=shape,
        image_size=image_size,
        value_range=data.value_range,
        pixels=candidate.pixels,
        num_prefix_tokens=candidate.num_prefix_tokens,
        weights=candidate.weights if named else "imagenet",
        backbone_options=candidate.options if named else None,
        class_names=data.class_names,
    )
    own = backbone_of(model).input_shape[1:3]
    size = arguments.size("image_size", own if image_size is None else image_size)
    return Contender(candidate=candidate, model=model, image_size=size)


def nothing_left(left_out: Sequence[tuple[LeftOutBackbone, Exception]]) -> Exception:
    """Return an error of the class of the first error, which names all that were left out."""
    reasons = text.join_first(
        [f"{each.candidate}: {each.reason}" for each, _ in left_out], separator="; "
    )
    return type(left_out[0][1])(f"No backbone is left: {reasons}")
