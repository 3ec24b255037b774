"""List labelled pictures, with the parts of the user's own split, before they are read."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tlkit._internal import arguments
from tlkit._internal.text import join_first, plural
from tlkit.data import naming
from tlkit.data.decoding import Picture
from tlkit.data.image_dataset import ImageDataset, Problem
from tlkit.data.reading import Label, ReadOptions, read
from tlkit.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """Pictures with labels, from a folder, a table or a data set; see `tlkit.data.reading.read`.

    Attributes:
        fetch: Returns the picture of an index.
        labels: The class name of each picture, or a tuple of names for multi-label; None for a
            missing label.
        paths: The path of each picture, or its row, for messages.
        groups: The group of each picture; empty if there are no groups.
        parts: The part of each picture in the user's own split; empty if there is no split.
        faults: For the indices of pictures that can't be used, the reason.
        problems: Other files and folders that can't be used.
        notices: Assumptions, and files that were passed over.
    """

    fetch: Callable[[int], Picture]
    labels: Sequence[Label]
    paths: Sequence[str]
    groups: Sequence[str] = ()
    parts: Sequence[str] = ()
    faults: Mapping[int, str] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    notices: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> "Listing":
        """Return some of the pictures."""
        return replace(
            self,
            fetch=lambda index: self.fetch(indices[index]),
            labels=[self.labels[index] for index in indices],
            paths=[self.paths[index] for index in indices],
            groups=[self.groups[index] for index in indices] if self.groups else (),
            parts=[self.parts[index] for index in indices] if self.parts else (),
            faults={
                at: self.faults[index] for at, index in enumerate(indices) if index in self.faults
            },
        )


def join(listings: Sequence[Listing]) -> Listing:
    """Join several listings into one, in their order.

    If some listings have groups, a picture without a group becomes a group of its own. If some have
    parts, a picture without a part becomes a training image.
    """
    if len(listings) == 1:
        return listings[0]
    starts = [sum(map(len, listings[:number])) for number in range(len(listings))]

    def fetch(index: int) -> Picture:
        number = bisect_right(starts, index) - 1
        return listings[number].fetch(index - starts[number])

    grouped, divided = (any(getattr(each, name) for each in listings) for name in _OPTIONAL)
    return Listing(
        fetch=fetch,
        labels=[label for each in listings for label in each.labels],
        paths=[path for each in listings for path in each.paths],
        groups=[group for each in listings for group in each.groups or each.paths]
        if grouped
        else (),
        parts=[part for each in listings for part in each.parts or ["train"] * len(each)]
        if divided
        else (),
        faults={
            start + index: fault
            for start, each in zip(starts, listings, strict=True)
            for index, fault in each.faults.items()
        },
        problems=[problem for each in listings for problem in each.problems],
        notices=[notice for each in listings for notice in each.notices],
    )


_OPTIONAL = ("groups", "parts")


def read_listing(
    listing: Listing, *, name: str, place: str, options: ReadOptions, are_files: bool = True
) -> ImageDataset:
    """Read listed pictures as a dataset, after comparing the parts of the user's own split.

    Args:
        listing: The pictures.
        name: As for `read`.
        place: As for `read`.
        options: As for `read`.
        are_files: As for `read`.

    Raises:
        DataError: As for `read`.
    """
    if listing.parts:
        listing = _leave_out_unlabelled(listing)
        listing = _compare_classes(listing, known=options.class_names or ())
    return read(
        listing.fetch,
        listing.labels,
        paths=listing.paths,
        name=name,
        place=place,
        options=options,
        groups=listing.groups,
        parts=listing.parts,
        faults=listing.faults,
        problems=listing.problems,
        notices=listing.notices,
        are_files=are_files,
    )


def _leave_out_unlabelled(listing: Listing) -> Listing:
    """Leave out validation and test parts without any label, such as public test sets."""
    found = list(zip(listing.parts, listing.labels, strict=True))
    counts = Counter(listing.parts)
    unlabelled = [
        part
        for part in PARTS[1:]
        if counts[part] and all(label is None for each, label in found if each == part)
    ]
    if not unlabelled:
        return listing
    kept = [index for index, part in enumerate(listing.parts) if part not in unlabelled]
    said = [
        f"passed over the part {part}: {plural(counts[part], 'image')} without a label"
        for part in unlabelled
    ]
    return replace(listing.take(kept), notices=[*listing.notices, *said])


# A class that is only in the validation or test images can't be learned: its name is misspelled, or
# its training images are missing. So it is a problem like a damaged file: by default an error; with
# `unreadable="skip"` it is left out and reported. A class that is missing in the validation or test
# images is only reported: nothing can be measured for it there.
def _compare_classes(listing: Listing, *, known: Sequence[str]) -> Listing:
    """Compare the classes of the parts; leave out classes neither in training nor known."""
    names_of = [(label,) if isinstance(label, str) else label or () for label in listing.labels]
    counts = Counter(
        (part, name) for part, names in zip(listing.parts, names_of, strict=True) for name in names
    )
    classes = {part: sorted({name for each, name in counts if each == part}) for part in PARTS}
    if not classes["train"]:
        raise DataError(
            "There must be training images, got images of the parts "
            f"{[part for part in PARTS if classes[part]]} only. Rename one of them to train."
        )
    learned = {*classes["train"], *map(naming.normalize, known)}
    unlearned = sorted({name for _, name in counts} - learned)
    problems = [
        Problem(path=f"class {name!r}", reason=_explain_unlearned(name, counts, classes["train"]))
        for name in unlearned
    ]
    kept = [index for index, names in enumerate(names_of) if not {*names} & {*unlearned}]
    missing = {
        part: [name for name in classes["train"] if name not in classes[part]] for part in PARTS
    }
    said = [
        f"no {part} images of {len(missing[part]):,} of {len(classes['train']):,} classes: "
        f"{join_first(missing[part])}"
        for part in PARTS
        if classes[part] and missing[part]
    ]
    return replace(
        listing.take(kept) if unlearned else listing,
        problems=[*listing.problems, *problems],
        notices=[*listing.notices, *said],
    )


def _explain_unlearned(
    name: str, counts: Mapping[tuple[str, str], int], learned: Iterable[str]
) -> str:
    places = [
        f"{plural(counts[part, name], f'{part} image')}"
        for part in PARTS[1:]
        if counts.get((part, name))
    ]
    learned = list(learned)
    same = [each for each in learned if each.casefold() == name.casefold()]
    advice = f" Did you mean {same[0]!r}?" if same else arguments.nearest(name, learned)
    return f"{' and '.join(places)}, but no training image to learn it from.{advice}"
