"""The metadata of an exported file: all that a program needs to use its network."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from tlkit._internal import regular_files
from tlkit.data.decoding import Fit
from tlkit.errors import ConfigError

KEY = "tlkit"
"""The name of the metadata in a file."""

INPUT, OUTPUT, SCORE = "images", "probabilities", "ood_score"
"""The names of a file's input and outputs.

The images are `(batch, height, width, channels)`; the probabilities `(batch, classes)`. The score,
`(batch,)`, measures how unlike the training images each image is, 0 to 1.
"""

Precision = Literal["float16", "float32", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_SEQUENCES = ("class_names", "input_shape", "thresholds", "value_range")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of an exported file.

    Attributes:
        format: One of `tlkit.deployment.formats.names()`.
        precision: "float32", "float16" for weights of 16 bits, or "int8".
        class_names: The name of each class, in the order of the probabilities.
        multi_label: Whether an image can have several classes, or none.
        thresholds: For multi-label, the lowest probability at which an image has each class; None
            otherwise.
        input_shape: The shape of a batch of images; None means any number.
        input_dtype: The dtype of images: "uint8" or "float32".
        value_range: The values of black and white; None if they are unknown.
        fit: How images of files were fitted into this shape in training.
        white: The value of white in files of more than 8 bits; None finds it for each file.
        has_ood_score: Whether the out-of-distribution score is an output.
        ood_threshold: The score above which an image is probably none of the classes.
        versions: The versions of tlkit, Keras and the backend that wrote the file.
        run_id: The id of the run that trained the classifier; None if no run did.
        source_sha256: The SHA-256 of the `.keras` file that was exported; None if there was none.
    """

    format: str
    precision: Precision
    class_names: tuple[str, ...]
    multi_label: bool
    thresholds: tuple[float, ...] | None
    input_shape: tuple[int | None, ...]
    input_dtype: str
    value_range: tuple[float, float] | None
    fit: Fit = "squash"
    white: int | None = None
    has_ood_score: bool = False
    ood_threshold: float = 0.95
    versions: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    source_sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as values that JSON can hold."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the text of the metadata in a file."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def parse(text: str | None, path: Path) -> Metadata:
    """Return the metadata of a file.

    Args:
        text: The text in the file; None if the file has none, so that the `.json` file beside it is
            read.
        path: The path of the file.

    Raises:
        ConfigError: There are no metadata, or they are not those of an exported file.
    """
    beside = path.with_name(f"{path.name}.json")
    if text is None and beside.is_file():
        with suppress(OSError):
            text = regular_files.read_text(beside)
    if text is None:
        raise ConfigError(
            f"`path` must be a file that tlkit exported, got {str(path)!r}: it holds no class "
            f"names and no {beside.name} is beside it. Write it with `tlkit export`."
        )
    try:
        values = json.loads(text)
        known = {each.name: values[each.name] for each in fields(Metadata) if each.name in values}
        made: dict[str, Any] = {
            name: tuple(value) if name in _SEQUENCES and value is not None else value
            for name, value in known.items()
        }
        return Metadata(**made)
    except (AttributeError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError(
            f"`path` must be a file that tlkit exported, got {str(path)!r}, whose metadata can't "
            f"be read: {error}."
        ) from error
