"""Find the image files in folders, and report the files that are passed over."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from tlkit._internal import arguments
from tlkit._internal.regular_files import open_regular
from tlkit._internal.text import join_first, plural
from tlkit.data.naming import escape

_NO_IMAGES = {"BUFR", "GRIB", "HDF5", "MPEG"}  # formats that Pillow knows but does not read
_FOREIGN = (  # images by their names, though Pillow may not open them
    ".avif .heic .heif .hif .jxl .svg .dcm .nii .exr .hdr .npy "
    ".arw .cr2 .cr3 .dng .nef .orf .raf .raw .rw2"
)


def find_files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, except hidden ones.

    Links to folders are followed, but each folder is entered once, and parent folders never.

    Args:
        folder: The folder.
    """
    entered = {str(above) for above in folder.resolve().parents}
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in names if not name.startswith("."))


def is_image(file: Path) -> bool:
    """Return whether a file is an image, by its suffix, or by Pillow if the suffix is unknown.

    Args:
        file: A file; a damaged file with the suffix of an image counts as an image.
    """
    return file.suffix.lower() in _endings() or _can_open(file)


def divide(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images among these files, and the others."""
    images: list[Path] = []
    others: list[Path] = []
    for file in sorted(files):
        (images if is_image(file) else others).append(file)
    return images, others


def find_images(paths: Iterable[str | Path]) -> tuple[list[Path], str]:
    """Return the files among the paths, and the images in the folders among them.

    The returned text describes the files that were passed over in the folders, or is empty.
    """
    found: list[Path] = []
    others = OtherFiles()
    for each in paths:
        path = arguments.path("files", each)
        images, rest = divide(find_files(path)) if path.is_dir() else ([path], [])
        found += images
        others.add(rest)
    return found, others.describe()


@dataclass(kw_only=True)
class OtherFiles:
    """Files that are not images, counted by their suffixes.

    Attributes:
        root: The folder that the path of an example is relative to.
        counts: The number of files of each suffix.
        example: The first file.
    """

    root: Path = Path()
    counts: Counter[str] = field(default_factory=Counter)
    example: Path | None = None

    def add(self, files: Sequence[Path]) -> None:
        """Count more files."""
        self.counts.update(escape(file.suffix.lower()) or "no ending" for file in files)
        self.example = self.example or next(iter(files), None)

    def describe(self) -> str:
        """Return the number of files of each ending as text, which is empty if there are none."""
        if self.example is None:
            return ""
        counts = [f"{count:,} {ending}" for ending, count in self.counts.most_common()]
        return (
            f"passed over {plural(self.counts.total(), 'file')} that Pillow can't open as an "
            f"image, such as {escape(os.path.relpath(self.example, self.root))}: "
            f"{join_first(counts)}"
        )


@cache
def _endings() -> frozenset[str]:
    Image.init()
    known = Image.registered_extensions().items()
    openable = {end for end, form in known if form in Image.OPEN and form not in _NO_IMAGES}
    return frozenset({*openable, *_FOREIGN.split()})


def _can_open(file: Path) -> bool:
    try:
        with open_regular(file) as source, Image.open(source) as picture:
            return picture.format not in _NO_IMAGES
    except Exception:  # Pillow's readers may raise any error for a file of another format
        return False


def relative_path(file: Path, root: Path) -> str:
    """Return the path of a file relative to a folder, with `/` as separator."""
    try:
        return Path(os.path.relpath(file, root)).as_posix()
    except ValueError:  # on another drive of Windows
        return file.as_posix()
