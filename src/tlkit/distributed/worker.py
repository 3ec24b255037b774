"""A worker on one device of a cluster: it reads, decodes and runs the images of a part."""

import json
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import tlkit
from tlkit._internal import system
from tlkit._internal.optional import require
from tlkit._internal.temporaries import temporary_folder
from tlkit.caching.cache import Cache
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.data import digests
from tlkit.data.decoding import UnreadableImageError
from tlkit.data.scanning import digest_content
from tlkit.data.threads import map_ahead
from tlkit.distributed import feature_files
from tlkit.distributed.feature_files import NO_INDEX, FeatureRows, Index
from tlkit.distributed.manifest import Manifest, Part, Rows
from tlkit.distributed.storage import Location, Stamp
from tlkit.distributed.tail import Frozen, cut_tail
from tlkit.distributed.trunk import Pictures, prepare_runner
from tlkit.errors import TlkitError

_BATCH = 256  # images that wait for the engine
_WAITING_THREADS = 16  # for reading files of a bucket; they mostly wait
_MISSING = "No such file or directory"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings that all workers share.

    Attributes:
        manifest: The table of image files.
        out: The folder of features.
        model: The classifier's file.
        index: A reference to the index of features that are stored already; None without any.
        pictures: How files become pixels.
        cache: The dtype of features, and the engine's tolerance.
        engine: The engine that runs the frozen part.
        num_features: The number of features per image.
        frozen: The layers that are frozen, whose features the others read; None means that the
            head reads the features.
    """

    manifest: Manifest
    out: Location
    model: Location
    index: Any
    pictures: Pictures
    cache: Cache
    engine: str
    num_features: int
    frozen: Frozen | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """An image that was read.

    Attributes:
        digest: Its digest; None if it can't be read.
        content: The digest of its file's content, in hexadecimal digits.
        pixels: Its pixels; None if its features are known, or it can't be read.
        known: The file and the row of its features, if these are known.
        problem: Why it can't be read; empty text otherwise.
        may_pass: Whether the problem may be temporary, such as a failure of the network.
    """

    digest: np.ndarray | None = None
    content: str = ""
    pixels: np.ndarray | None = None
    known: tuple[Location, int] | None = None
    problem: str = ""
    may_pass: bool = False


class Worker:
    """Computes parts of a manifest, and writes a file of features for each; Ray calls it.

    Args:
        job: The settings.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        is_index = job.index is None or isinstance(job.index, Index)
        self._index: Index = (
            job.index or NO_INDEX if is_index else require("ray", extra="ray").get(job.index)
        )
        self._num_threads = system.count_cores()
        if not job.manifest.folder.is_local:
            self._num_threads = max(_WAITING_THREADS, self._num_threads)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Compute some parts, passed as columns; return a report of each part as JSON."""
        names = list(batch)
        columns = zip(*(batch[name].tolist() for name in names), strict=True)
        parts = [Part(**dict(zip(names, values, strict=True))) for values in columns]
        return {"report": np.array([json.dumps(self._report(part)) for part in parts])}

    def _report(self, part: Part) -> dict[str, Any]:
        started, cpu = time.perf_counter(), time.process_time()
        try:
            report = self._run(part)
        except TlkitError as error:
            report = {"error": type(error).__name__, "message": str(error)}
        except Exception as error:  # Ray Data would only leave out the part
            reason = f"{type(error).__name__}: {_explain(error)}"
            report = {"error": "", "message": f"A worker failed: {reason}"}
        use = {
            "worker": f"{platform.node()}:{os.getpid()}",
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
        }
        return {"part": part.number, **use, "bytes": system.resident_bytes() or 0, **report}

    def _run(self, part: Part) -> dict[str, Any]:
        """Write the features of a part, as far as they are not stored."""
        job, rows = self._job, self._job.manifest.read(part)
        file = job.out.join(rows.name + feature_files.ENDING)
        old = feature_files.read(file)
        if old is not None and (
            old.paths != rows.paths or old.features.shape[1] != job.num_features
        ):
            old = None
        stamps = self._stat(rows.paths)
        new = _keep(old, rows, stamps, job)
        todo = [row for row, problem in enumerate(new.problems) if problem == _TODO]
        num_run = self._fill(new, todo, stamps)
        if todo or old is None:
            feature_files.write(file, new)
        return _summarize(new, file, num_run=num_run, num_bytes=int(new.stamps[todo, 0].sum()))

    def _stat(self, paths: list[str]) -> list[Stamp | None]:
        def stat(path: str) -> Stamp | None:
            try:
                return self._job.manifest.folder.join(path).stat()
            except (OSError, ValueError):
                return None  # reading the file reports the reason

        fine = [path for path in paths if not self._job.manifest.find_fault(path)]
        with ThreadPoolExecutor(self._num_threads, thread_name_prefix="tlkit-stat") as pool:
            found = dict(zip(fine, pool.map(stat, fine), strict=True))
        return [found.get(path) for path in paths]

    def _fill(self, rows: FeatureRows, todo: list[int], stamps: list[Stamp | None]) -> int:
        """Fill rows without features; return how many images the engine ran."""
        read = map_ahead(
            lambda row: self._read(rows.paths[row], _has_label(rows, row)),
            todo,
            batch_size=_BATCH,
            num_threads=self._num_threads,
        )
        num_run = 0
        places: dict[Location, list[tuple[int, int]]] = {}
        for batch in read:
            for row, image in batch:
                rows.problems[row] = image.problem
                rows.set_stamp(row, None if image.may_pass else stamps[row])
                if image.digest is not None:
                    rows.digests[row] = image.digest
                    rows.contents[row] = digests.to_numbers([image.content])[0]
                if image.known is not None:
                    places.setdefault(image.known[0], []).append((row, image.known[1]))
            num_run += self._run_images(rows, batch)
        lost = _copy_known(rows, places)
        if lost:  # a file was deleted or damaged since the index was made
            self._index = NO_INDEX
            num_run += self._fill(rows, lost, stamps)
        return num_run

    def _run_images(self, rows: FeatureRows, batch: Iterable[tuple[int, _Read]]) -> int:
        """Compute the features of images by the engine, for equal images only once."""
        pixels: dict[bytes, np.ndarray] = {}
        wanted: list[tuple[int, bytes]] = []
        for row, image in batch:
            if image.pixels is not None and image.digest is not None:
                pixels.setdefault(image.digest.tobytes(), image.pixels)
                wanted.append((row, image.digest.tobytes()))
        if pixels:
            arrays = self._runner.run(np.stack(list(pixels.values())))
            features = np.concatenate([each.reshape(len(each), -1) for each in arrays], axis=1)
            found = dict(zip(pixels, features, strict=True))
            for row, digest in wanted:
                rows.features[row] = found[digest]
        return len(pixels)

    def _read(self, path: str, has_label: bool) -> _Read:
        """Return an image's digest, and its pixels unless its features are known."""
        job = self._job
        fault = job.manifest.find_fault(path)
        if fault or not has_label:
            return _Read(problem=fault or "it has no label (empty, NaN or -1)")
        try:
            content = job.manifest.folder.join(path).read()
            name = digest_content(content)
            digest = job.pictures.digest(name)
            known = self._index.find(digest)
            if known is not None:
                return _Read(digest=digest, content=name, known=known)
            pixels, form = job.pictures.decode(content)
        except UnreadableImageError as error:
            return _Read(problem=error.reason)
        except (OSError, ValueError) as error:
            return _Read(problem=_explain(error), may_pass=True)
        return _Read(digest=job.pictures.digest(name, form), content=name, pixels=pixels)

    @cached_property
    def _runner(self) -> TrunkRunner:
        """The runner of the frozen part, loaded when the first image needs it."""
        with temporary_folder() as folder:
            (folder / "model.keras").write_bytes(self._job.model.read())
            model = tlkit.load(folder / "model.keras")
        job = self._job
        cut = None if job.frozen is None else cut_tail(model, job.frozen, job.pictures.empty)
        return prepare_runner(model, job.cache, job.engine, cut)


_TODO = "\0 to do"  # marks rows to compute; no real problem has this text


def _keep(old: FeatureRows | None, rows: Rows, stamps: list[Stamp | None], job: Job) -> FeatureRows:
    """Return the rows of a part, with the features of unchanged files; others are marked to do."""
    new = FeatureRows.empty(rows.paths, rows.labels, job.num_features, job.cache.dtype)
    new.problems = [_TODO] * len(rows.paths)
    for row, stamp in enumerate(stamps):
        if old is not None and old.is_unchanged(row, stamp):
            new.problems[row] = old.problems[row]
            new.digests[row], new.stamps[row] = old.digests[row], old.stamps[row]
            new.contents[row] = old.contents[row]
            new.features[row] = old.features[row]
    return new


def _has_label(rows: FeatureRows, row: int) -> bool:
    return not rows.labels or rows.labels[row] is not None


def _copy_known(rows: FeatureRows, places: dict[Location, list[tuple[int, int]]]) -> list[int]:
    """Copy features from other files; return the rows whose features are missing there."""
    lost: list[int] = []
    for file, pairs in places.items():
        features = feature_files.read_features(file)
        if features is None:
            lost += [row for row, _ in pairs]
            continue
        for row, source in pairs:
            rows.features[row] = features[source]
    return lost


def _summarize(
    rows: FeatureRows, file: Location, *, num_run: int, num_bytes: int
) -> dict[str, Any]:
    readable = rows.readable
    counts: dict[str, int] = {}
    for label, fine in zip(rows.labels, readable, strict=False):
        if fine and label is not None:
            counts[label] = counts.get(label, 0) + 1
    found = zip(rows.paths, rows.problems, strict=True)
    return {
        "file": file.name,
        "images": int(readable.sum()),
        "computed": num_run,
        "read_bytes": num_bytes,
        "labels": counts,
        "problems": [[path, problem] for path, problem in found if problem],
    }


def _explain(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return _MISSING
    strerror = getattr(error, "strerror", None)
    return str(strerror or " ".join(str(error).split())[:300] or type(error).__name__)
