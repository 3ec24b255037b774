"""Add images to a dataset, of its classes or of new classes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages, concatenate


def join(data: ImageDataset, added: ImageDataset, *, folder: str, root: str) -> ImageDataset:
    """Return a dataset extended by more images, which are marked as added.

    Args:
        data: The dataset.
        added: More images, read with the same options; its classes must include those of `data`.
        folder: The folder or table of the added images.
        root: The folder or table of the dataset; the paths of the result are relative to it.
    """
    data = data.reorder(added.class_names)
    known = {scan.digest for scan in data.scans}
    again = sum(scan.digest in known for scan in added.scans)
    notices = [f"added {len(added):,} images of {folder}"]
    notices[0] += f", {again:,} of which were there already" * (again > 0)
    parts = added.parts or ("train",) * len(added)
    if data.parts and not added.parts:
        notices.append("added images are all trained on, since the split of the others is your own")
    both = [data.images, added.images]
    lazy = all(isinstance(images, LazyImages) for images in both)
    relative = os.path.relpath(_folder_of(folder), _folder_of(root))
    groups = [*(data.groups or data.paths), *(added.groups or added.paths)]
    return replace(
        data,
        images=concatenate(both) if lazy else np.concatenate(both),
        labels=np.concatenate([data.labels, added.labels]),
        paths=(*data.paths, *(Path(relative, path).as_posix() for path in added.paths)),
        groups=tuple(groups) if data.groups or added.groups else (),
        parts=(*data.parts, *parts) if data.parts else (),
        added=(*(data.added or (False,) * len(data)), *(True,) * len(added)),
        problems=(*data.problems, *added.problems),
        num_replaced=data.num_replaced + added.num_replaced,
        notices=(*data.notices, *notices, *added.notices),
        white=data.white if data.white is not None else added.white,
        known_scans=(*data.scans, *added.scans),
    )


def _folder_of(place: str) -> Path:
    path = Path(place)
    return path if path.is_dir() else path.parent
