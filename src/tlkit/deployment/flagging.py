"""Store images whose prediction is wrong, with the correct class, as a folder to train on."""

import csv
import hashlib
import io
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tlkit._internal import regular_files
from tlkit._internal.files import replace_atomically, to_write_error
from tlkit._internal.text import show
from tlkit.deployment.predictor import Prediction
from tlkit.errors import DataError

TABLE = "flagged.csv"
"""The name of the table in a folder of flagged images."""

_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*%\x00-\x1f]|^\.|[. ]$')
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}


@dataclass(frozen=True, kw_only=True)
class FlagFolder:
    """A folder of images that a classifier predicted wrongly.

    It has a subfolder for each class and a table, `flagged.csv`, with a row for each image; both
    can be trained on with `tlkit train --add`. For a multi-label classifier all images are in the
    subfolder `images`, and the table has their classes in the form of the training table.

    Attributes:
        folder: The folder; it is created with the first image.
        class_names: The classes to choose from.
        multi_label: Whether an image can have several classes, or none.
        path_column: The name of the table's column of paths, relative to the folder.
        label_column: The name of the table's column of correct classes.
        label_separator: The separator of several classes; None writes a column of 0 and 1 for each
            class.
        max_images: The maximum number of images; more are refused.
    """

    folder: Path
    class_names: tuple[str, ...]
    multi_label: bool = False
    path_column: str = "path"
    label_column: str = "label"
    label_separator: str | None = "|"
    max_images: int = 10_000
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, file: Path, right: Sequence[str], prediction: Prediction) -> Path:
        """Copy an image to the folder, and write its row of the table; return the copy's path.

        An image that is in the folder already gets the new class.

        Args:
            file: An image that can be read.
            right: Its correct class; for a multi-label classifier, its correct classes.
            prediction: The wrong prediction.

        Raises:
            DataError: A class is unknown to the classifier, the classes are the predicted ones, or
                the folder is full.
            StoreError: The folder can't be written.
        """
        self._check(right, prediction)
        content = file.read_bytes()
        place = "images" if self.multi_label else to_folder_name(right[0])
        name = hashlib.sha256(content).hexdigest()[:20] + _find_suffix(file)
        path = f"{place}/{name}"
        with self._lock:
            others = [row for row in self._read() if Path(row[self.path_column]).name != name]
            if len(others) >= self.max_images:
                raise DataError(
                    f"{self.max_images:,} images are flagged already, and no more are kept."
                )
            try:
                self._write(path, content, [*others, self._describe(path, right, prediction)])
            except OSError as error:
                raise to_write_error(self.folder / path, error) from error
        return self.folder / path

    def _check(self, right: Sequence[str], prediction: Prediction) -> None:
        if not right and not self.multi_label:
            raise DataError("Choose the right class first.")
        unknown = [name for name in right if name not in self.class_names]
        if unknown:
            raise DataError(
                f"The right class must be one of the classifier's, got {show(unknown[0])}."
            )
        predicted = {prediction.label} if prediction.labels is None else set(prediction.labels)
        if set(right) == predicted:
            wanted = "other classes" if self.multi_label else "another class"
            raise DataError(f"This is what was predicted. Choose {wanted} to flag it as wrong.")

    def _read(self) -> list[dict[str, str]]:
        table = self.folder / TABLE
        if not os.path.lexists(table):
            return []
        try:
            rows = list(csv.DictReader(io.StringIO(regular_files.read_text(table), newline="")))
            if not all(isinstance(row.get(self.path_column), str) for row in rows):
                raise ValueError(f"it has no column {self.path_column!r}")
        except (OSError, ValueError, csv.Error) as error:
            reason = regular_files.reason(error) if isinstance(error, OSError) else error
            raise DataError(
                f"{str(table)!r} must be as the demo wrote it, got a file that was changed: "
                f"{reason}. Move it away; the demo then starts a new one."
            ) from error
        return rows

    def _write(self, path: str, content: bytes, rows: list[dict[str, str]]) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(target) as temporary:
            temporary.write_bytes(content)
        with (
            replace_atomically(self.folder / TABLE) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, list(rows[-1]), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        for each in self.folder.glob(f"*/{target.name}"):
            if each != target:
                each.unlink()

    def _describe(self, path: str, right: Sequence[str], found: Prediction) -> dict[str, str]:
        """Return the row of an image in the table."""
        if not self.multi_label:
            labels = {self.label_column: right[0]}
        elif self.label_separator is None:
            labels = {name: str(int(name in right)) for name in self.class_names}
        else:
            ordered = [name for name in self.class_names if name in right]
            labels = {self.label_column: self.label_separator.join(ordered)}
        predicted = [found.label] if found.labels is None else list(found.labels)
        score = "" if found.ood_score is None else f"{found.ood_score:.6g}"
        return {
            self.path_column: path,
            **labels,
            "predicted": (self.label_separator or "|").join(predicted),
            "probability": f"{found.probability:.6g}",
            "ood_score": score,
        }


def to_folder_name(class_name: str) -> str:
    """Return a class name as the name of a folder, on any system.

    Examples:
        >>> to_folder_name("daisy"), to_folder_name("and/or"), to_folder_name("..")
        ('daisy', 'and%2For', '%2E%2E')
    """

    def escape(found: re.Match[str]) -> str:
        return "".join(f"%{ord(each):02X}" for each in found[0])

    return _NOT_IN_NAMES.sub(escape, class_name)


def _find_suffix(file: Path) -> str:
    """Return the suffix for an image file, by its content."""
    with Image.open(file) as opened:
        kind = opened.format or "PNG"
    return _SUFFIXES.get(kind, f".{kind.lower()}")
