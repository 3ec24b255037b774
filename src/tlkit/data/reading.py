"""Scan pictures, leave out those that can't be used, and return the rest as a dataset."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.text import join_first, plural
from tlkit.data import decoding, digests, naming, scanning
from tlkit.data.image_dataset import ImageDataset, Problem, pick
from tlkit.data.lazy_images import Digest, LazyImages, ReadImage
from tlkit.errors import Argument, DataError

Unreadable = Literal["fail", "replace", "skip"]
Label = str | tuple[str, ...] | None
"""One class name, several for multi-label, or None for a missing label."""
_GREY = 128  # the value of all pixels of an image that replaces an unreadable one
_DARK = 64  # of 255; every set of photos has a brighter pixel


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How pictures are read; see `tlkit.sources.from_folder`."""

    image_size: tuple[int, int]
    fit: decoding.Fit
    channels: int
    unreadable: Unreadable
    max_unreadable: float
    class_names: Sequence[str] | None
    white: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", arguments.size("image_size", self.image_size))
        decoding.check_fit(self.fit)
        decoding.check_channels(self.channels)
        arguments.one_of("unreadable", self.unreadable, get_args(Unreadable))
        arguments.fraction("max_unreadable", self.max_unreadable)
        if self.white is not None:
            arguments.at_least("white", self.white, 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of every image."""
        return (*self.image_size, self.channels)


def read(
    fetch: Callable[[int], decoding.Picture],
    labels: Sequence[Label],
    *,
    paths: Sequence[str],
    name: str,
    place: str,
    options: ReadOptions,
    groups: Sequence[str] = (),
    parts: Sequence[str] = (),
    faults: Mapping[int, str] | None = None,
    problems: Sequence[Problem] = (),
    notices: Sequence[str] = (),
    are_files: bool = True,
) -> ImageDataset:
    """Return pictures as a dataset; each is scanned now, and decoded when it is indexed.

    Args:
        fetch: Returns the picture of an index.
        labels: The class name of each picture, or for multi-label a tuple of names, which may be
            empty; None for a missing label.
        paths: The path or the row of each picture, for messages.
        name: The name of the dataset.
        place: The folder or table of the pictures, for messages.
        options: How pictures are read.
        groups: The group of each picture; empty if there are no groups.
        parts: The part of each picture in the user's own split; empty if there is no split.
        faults: For the indices of pictures that can't be used, the reason.
        problems: Other files and folders that can't be used.
        notices: Assumptions so far, and files that were passed over.
        are_files: Whether `paths` are files.

    Raises:
        DataError: Pictures can't be used and the options do not skip them; the message lists them.
    """
    wrong = _find_faults(paths, labels) | dict(faults or {})
    usable = [index for index in range(len(labels)) if not wrong.get(index)]
    scanned = scanning.scan_pictures(fetch, usable, white=options.white)
    scans = dict(zip(usable, scanned, strict=True))
    damaged = {index for index, scan in scans.items() if scan.problem}
    wrong |= {index: scans[index].problem for index in damaged}
    found = [
        Problem(path=naming.escape(paths[index]), reason=reason)
        for index, reason in sorted(wrong.items())
        if reason
    ]
    problems = (*problems, *found)
    check_problems(problems, found, len(labels), options)
    kept = [i for i in usable if i not in damaged or options.unreadable == "replace"]
    encoded, names = _encode([labels[i] for i in kept], options.class_names, place)
    white, depths = _find_white([scans[i] for i in kept if i not in damaged], options.white)
    decoder = _Decoder(fetch=fetch, scans=scans, white=white, options=options, are_files=are_files)
    return ImageDataset(
        name=name,
        images=LazyImages(
            decoder.decode,
            kept,
            shape=options.shape,
            digests=decoder.digest(np.asarray(kept)),
            at_size=decoder.at_size,
        ),
        labels=encoded,
        class_names=names,
        paths=pick(tuple(paths), kept) if are_files else (),
        groups=pick(tuple(groups), kept),
        parts=pick(tuple(parts), kept),
        problems=problems,
        num_replaced=sum(index in damaged for index in kept),
        notices=(*notices, *depths, *_find_similar(names)),
        white=white,
        known_scans=tuple(scans[i] for i in kept),
    )


def _find_faults(paths: Sequence[str], labels: Sequence[Label]) -> dict[int, str]:
    """Return why pictures can't be used, by index, before any is read; "" if they can."""
    faults = {index: naming.find_fault(path) for index, path in enumerate(paths)}
    missing = [index for index, label in enumerate(labels) if label is None]
    return faults | dict.fromkeys(missing, "it has no label (empty, NaN or -1)")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decoder:
    """Decodes scanned pictures by their index, at one size.

    Attributes:
        fetch: Returns the picture of an index.
        scans: The scan of each picture; a damaged picture becomes grey.
        white: The value of white in files of more than 8 bits; None without such files.
        options: How pictures are read.
        are_files: Whether the pictures are files, whose content can be digested.
    """

    fetch: Callable[[int], decoding.Picture]
    scans: Mapping[int, scanning.Scan]
    white: int | None
    options: ReadOptions
    are_files: bool

    def at_size(self, size: tuple[int, int]) -> tuple[ReadImage, Digest]:
        """Return the functions that decode and that digest the pictures at another size."""
        other = replace(self, options=replace(self.options, image_size=size))
        return other.decode, other.digest

    def decode(self, index: int) -> np.ndarray:
        """Return the pixels of a picture."""
        scan, how = self.scans[index], self.options
        if scan.problem:
            return np.full(how.shape, _GREY, "uint8")
        picture = scanning.read_again(self.fetch(index), scan)
        return decoding.decode(
            picture, how.image_size, fit=how.fit, channels=how.channels, white=self.white
        )

    def digest(self, indices: np.ndarray) -> np.ndarray | None:
        """Return a digest of each file and of how it is decoded; None if there are no files."""
        if not self.are_files:
            return None
        scans = [self.scans[int(index)] for index in indices]
        return digests.digest_decoded(
            (
                ("grey" if scan.problem else scan.digest, self._find_white(scan.form))
                for scan in scans
            ),
            size=self.options.image_size,
            fit=self.options.fit,
            channels=self.options.channels,
        )

    def _find_white(self, form: decoding.Form) -> int | None:
        return self.white if form == "16-bit grey" else None


def _encode(
    labels: Sequence[Label], wanted: Sequence[str] | None, place: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return class indices, or for multi-label rows of 0 and 1, and the class names."""
    sets = [label for label in labels if isinstance(label, tuple)]
    if not sets:
        single = [str(label) for label in labels]
        names = find_class_names(set(single), wanted, place)
        numbers = {each: number for number, each in enumerate(names)}
        return np.asarray([numbers[each] for each in single], dtype="int64"), names
    if len(sets) < len(labels):
        raise DataError(
            f"The images of {place!r} must all have a single class, or all may have several, got "
            "both. List all of them in tables with the same columns."
        )
    present = {name for names in sets for name in names}
    known = wanted is not None and not present  # images may all be without a class
    names = naming.check(wanted or ()) if known else find_class_names(present, wanted, place)
    rows = [[name in own for name in names] for own in sets]
    return np.asarray(rows, dtype="uint8"), names


def find_class_names(
    present: Iterable[str], wanted: Sequence[str] | None, place: str
) -> tuple[str, ...]:
    """Return the class names whose indices become the labels."""
    found = naming.sort(present)
    if wanted is None:
        if len(found) < 2:
            raise DataError(
                f"{place!r} must have images of at least 2 classes, got {list(found) or 'none'}."
                + " To tell a class from everything else, add a class of other images."
                * (len(found) == 1)
            )
        return found
    known = naming.check(wanted)
    unknown = [each for each in found if each not in known]
    if unknown or not found:
        raise DataError(
            f"{place!r} must have images of the classes {list(known)}, got {unknown or 'none'}."
        )
    return known


def check_problems(
    problems: Sequence[Problem], unusable: Sequence[Problem], count: int, options: ReadOptions
) -> None:
    """Raise an error for problems that the options do not allow."""
    if problems and options.unreadable == "fail":
        raise DataError(
            f"{plural(len(problems), 'problem').capitalize()} found: "
            f"{join_first(problems, limit=10, separator='; ')}. "
            "Fix the files, or skip them with ",
            Argument("unreadable", "skip"),
            ".",
        )
    if len(unusable) > options.max_unreadable * count:
        raise DataError(
            f"At most {100 * options.max_unreadable:g} % of the images may be unreadable, got "
            f"{len(unusable):,} of {count:,}: {join_first(unusable, limit=10, separator='; ')}. "
            "To accept more, raise ",
            Argument("max_unreadable"),
            ".",
        )


# A 12-bit camera writes 16-bit files whose values end at 4,095 instead of 65,535. A single file may
# be dark, but the brightest pixel of all files shows how many bits the set has. So one value of
# white applies to the whole set; 8-bit files keep 255.
def _find_white(
    scans: Sequence[scanning.Scan], white: int | None
) -> tuple[int | None, tuple[str, ...]]:
    """Return white for files of more than 8 bits (None without such files), and the notices."""
    brightest = Counter[str]()
    for scan in scans:
        brightest[scan.form] = max(brightest[scan.form], scan.brightest)
    colour, grey = brightest["16-bit colour"], brightest["16-bit grey"]
    if colour and decoding.find_white(colour) < 65535:
        raise DataError(
            f"Colour images of 16 bits must use them, got values up to {colour:,} of 65,535, of "
            "which Pillow keeps the upper 8 bits only. Save them with 8 bits, or pass arrays and "
            "their value_range to tlkit.sources.from_arrays."
        )
    notices = []
    deep = [scan for scan in scans if scan.form == "16-bit grey"]
    if deep:
        white = decoding.find_white(grey) if white is None else white
        few = sum(scan.brightest <= white // 16 for scan in deep)
        notices.append(
            f"{plural(len(deep), 'file')} of 16 bits with values up to {grey:,}: read as "
            f"{white.bit_length()} bits, {white:,} is white"
            + f"; {few:,} of them use {white.bit_length() - 4} bits or fewer"
            * (few > 0)
        )
    darkest = max(brightest["8-bit"], colour // 257, round(255 * grey / (white or 255)))
    if scans and darkest < _DARK:
        notices.append(f"all images are nearly black: their brightest pixel is {darkest} of 255")
    return white if deep else None, tuple(notices)


def _find_similar(names: Sequence[str]) -> tuple[str, ...]:
    """Return notices of class names that differ only in capital letters."""
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(name.casefold(), []).append(name)
    return tuple(
        f"the classes {join_first([*map(repr, same)])} differ in capitals only"
        for same in spelled.values()
        if len(same) > 1 and len(same[0]) > 1  # single letters may be classes
    )
