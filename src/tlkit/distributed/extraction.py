"""Run the frozen part of a classifier over a table of image files, on the devices of a cluster."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import keras
import numpy as np

import tlkit
from tlkit._internal import arguments
from tlkit._internal.optional import require
from tlkit._internal.signatures import check_arguments
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import join_first, show
from tlkit.caching.cache import Cache, Dtype, EngineName
from tlkit.caching.engines import selection
from tlkit.caching.partition import Cut
from tlkit.caching.trunk_runner import BATCH
from tlkit.data.decoding import Fit, UnreadableImageError
from tlkit.data.digests import describe_decoders
from tlkit.data.image_dataset import Problem
from tlkit.distributed import cluster as clusters
from tlkit.distributed import dispatch, environment, feature_files, feature_set, reports, tail
from tlkit.distributed.cluster import Devices
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.manifest import Manifest, Part, open_manifest
from tlkit.distributed.reports import Meter
from tlkit.distributed.storage import Location, explain, locate
from tlkit.distributed.tail import Frozen
from tlkit.distributed.trunk import Pictures, count_features, plan_pictures, prepare_runner
from tlkit.distributed.worker import Job
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.training.phase import Phase

FACTS, _MODEL = "_facts.json", "_model.keras"
_PART_BYTES = 256 * 2**20  # of features that layers other than the head read


# The features of a part do not pass through Ray: the worker that computes them writes them. So
# memory holds one part, however many images there are, and finished parts are on the disk,
# whichever process dies. `dispatch.py` gives the numbers of parts to idle workers, and repeats
# those that dead workers were computing. A new extraction finds the files of finished parts.
@check_arguments
def extract(
    manifest: str | Path,
    model: keras.Model | str | Path,
    *,
    out: str | Path,
    phase: Phase | None = None,
    cluster: str = clusters.LOCAL,
    workers: int | None = None,
    folder: str | Path | None = None,
    path_column: str = "path",
    label_column: str | None = "label",
    outside_paths: bool = False,
    image_size: int | tuple[int, int] | None = None,
    fit: Fit = "squash",
    white: int | None = None,
    engine: EngineName | Literal["auto"] = "auto",
    dtype: Dtype = "float16",
    max_unreadable: float = 0.1,
    part_rows: int = 4096,
    on_progress: Meter = lambda done, total: None,
    on_message: Callable[[str], None] = lambda message: None,
) -> FeatureSet:
    """Extract the features that a classifier's head reads of very many images, on a cluster.

    The images of a part of the manifest make one Parquet file. Images whose features are stored
    already, by their content, are not computed again; files that have not changed since, by size
    and time, are not even read. So an extraction that was stopped in any way continues where it
    was. On processors of the same kind, the features equal those of one machine bit for bit.

    Args:
        manifest: A Parquet file, or a folder of them, that lists image files: a path, or an address
            such as s3://bucket/photos.parquet.
        model: A classifier, or its .keras file.
        out: The folder of features, which all machines share; it holds those of one classifier.
        phase: The phase that `fine_tune` will train: the features are those that its layers read,
            and the pixels if it freezes no layers that can run once. By default they are those
            that the head reads.
        cluster: "local" uses this machine; otherwise the address of a Ray cluster. If this process
            is connected to a cluster already, this one is used.
        workers: The number of workers that share the devices; by default one per GPU, or without
            GPUs one per machine, and several on machines larger than the smallest.
        folder: The folder that relative paths of images start from; by default the manifest's.
        path_column: The column of the images' paths or addresses.
        label_column: The column of class names; None without labels.
        outside_paths: Whether to accept paths that lead out of the folder.
        image_size: The size that images are resized to; by default the classifier's.
        fit: As for `tlkit.sources.from_folder`.
        white: The value of white in files of more than 8 bits; None refuses such files.
        engine: As for `tlkit.Cache`; "auto" is the engine of the features in `out`, if there are
            any.
        dtype: As for `tlkit.Cache`.
        max_unreadable: The share of images that may be unreadable, 0 to 1.
        part_rows: The number of images in a part, which is computed again if a worker dies, and
            which memory holds. With `phase`, a part has at most 256 MB of features.
        on_progress: Is called after each part with the number of images done, and of all.
        on_message: A function of one line of text, such as `print`; is called before the work
            starts.

    Raises:
        ConfigError: An argument is wrong, a column is missing, the manifest or the cluster can't be
            reached, or its machines lack packages, have other versions or do not share `out`.
        DataError: The manifest lists no images, none of the first ones can be read, or too many are
            unreadable.
        EngineError: The engine can't run the model.
        MissingExtraError: The extra `ray` is not installed.
        StoreError: Features can't be written.
    """
    started = time.perf_counter()
    arguments.at_least("part_rows", part_rows, 1)
    arguments.fraction("max_unreadable", max_unreadable)
    arguments.one_of("engine", engine, ("auto", *selection.ENGINES))
    if workers is not None:
        arguments.at_least("workers", workers, 1)
    require("ray", extra="ray")
    table = open_manifest(
        locate("manifest", manifest),
        folder=None if folder is None else locate("folder", folder),
        path_column=path_column,
        label_column=label_column,
        outside_paths=outside_paths,
    )
    classifier = model if isinstance(model, keras.Model) else tlkit.load(model)
    pictures = plan_pictures(classifier, image_size=image_size, fit=fit, white=white)
    frozen = None if phase is None else tail.check(classifier, phase)
    cut = None if frozen is None else tail.cut_tail(classifier, frozen, pictures.empty)
    if cut is not None:
        row_bytes = tail.count_numbers(cut) * np.dtype(dtype).itemsize
        part_rows = max(1, min(part_rows, _PART_BYTES // row_bytes))
    parts = list(table.plan(part_rows))
    if not parts:
        raise DataError(f"{str(table.files[0])!r} must list at least one image, got none.")
    plan = _Plan(
        model=classifier,
        manifest=table,
        parts=parts,
        pictures=pictures,
        out=locate("out", out),
        cache=Cache(dtype=dtype),
        frozen=frozen,
        cut=cut,
    )
    with clusters.connect(cluster) as ray:
        devices = clusters.plan_devices(ray.nodes(), workers)
        sample, image = plan.read_sample()
        facts = plan.choose_engine(sample, engine=engine, has_gpu=devices.gpus > 0)
        plan.check_machines(ray, devices, facts, image)
        on_message(f"{devices} run {_describe_total(parts)} by {' '.join(facts['engine'])}")
        collected = reports.collect(
            plan.start(ray, devices, facts["engine"][0]),
            total=sum(part.stop - part.start for part in parts),
            max_unreadable=max_unreadable,
            on_progress=on_progress,
        )
    features = collected.summarize(
        folder=plan.out.text,
        engine=" ".join(facts["engine"]),
        num_features=count_features(classifier, cut),
        dtype=dtype,
        seconds=time.perf_counter() - started,
    )
    feature_set.save(features)
    return features


def _describe_total(parts: list[Part]) -> str:
    rows = sum(part.stop - part.start for part in parts)
    return f"{rows:,} images in {len(parts):,} part{'s' * (len(parts) > 1)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """The classifier, the images and the folder of an extraction."""

    model: keras.Model
    manifest: Manifest
    parts: list[Part]
    pictures: Pictures
    out: Location
    cache: Cache
    frozen: Frozen | None
    cut: Cut | None

    def read_sample(self) -> tuple[np.ndarray, Location]:
        """Return the first images that can be read, to test an engine with, and the first's file.

        Raises:
            DataError: None of the first images can be read.
        """
        rows = self.manifest.read(self.parts[0])
        pixels, files, reasons = [], [], []
        for path in rows.paths[:BATCH]:
            fault, file = self.manifest.find_fault(path), self.manifest.folder.join(path)
            try:
                if not fault:
                    pixels.append(self.pictures.decode(file.read())[0])
                    files.append(file)
                    continue
            except UnreadableImageError as error:
                fault = error.reason
            except (OSError, ValueError) as error:
                fault = explain(error)
            reasons.append(Problem(path=path, reason=fault))
        if not pixels:
            raise DataError(
                f"None of the first {len(reasons):,} images of the manifest can be read: "
                f"{join_first(reasons, limit=3, separator='; ')}. Relative paths are relative to "
                f"'{self.manifest.folder}'; choose another with ",
                Argument("folder"),
                ", and accept paths that lead out of it with ",
                Argument("outside_paths", True),
                ".",
            )
        return np.stack(pixels), files[0]

    def choose_engine(self, sample: np.ndarray, *, engine: str, has_gpu: bool) -> dict[str, Any]:
        """Return all that features depend on besides the images, including the engine.

        Raises:
            ConfigError: The folder has features of another classifier, engine or decoding.
        """
        known = self._read_facts()
        if engine == "auto" and known is not None:
            engine = str(known["engine"][0])
        if engine == "auto" and has_gpu:
            engine = "keras"
        runner = prepare_runner(self.model, self.cache, engine, self.cut)
        runner.expect(sum(part.stop - part.start for part in self.parts))
        runner.run(sample)
        name, version = runner.engine.split(" ", 1)
        facts = {
            **runner.collect_facts(sample, name),
            "engine": [name, version],
            "pictures": {**self.pictures.to_dict(), "decoders": describe_decoders()},
            **({} if self.cut is None else {"cut": self.cut.shapes}),
        }
        found: dict[str, Any] = json.loads(json.dumps(facts))  # as they are read
        _check_same(known, found, self.out)
        return found

    def _read_facts(self) -> dict[str, Any] | None:
        try:
            known = json.loads(self.out.join(FACTS).read())
        except (OSError, ValueError):
            return None
        return known if isinstance(known, dict) and "engine" in known else None

    def check_machines(
        self, ray: ModuleType, devices: Devices, facts: dict[str, Any], image: Location
    ) -> None:
        """Check that all machines can do the work, and write the facts of the features.

        Args:
            ray: Ray, connected to the cluster.
            devices: The devices of the workers.
            facts: The result of `choose_engine`.
            image: An image that this process can read.

        Raises:
            ConfigError: A machine lacks a package, has another version, or can't read the images.
            StoreError: The folder can't be written.
        """
        self.out.make_folder()
        self.out.join(FACTS).write(feature_files.encode(facts))
        packages = environment.list_packages(facts["engine"][0], keras.config.backend())
        readable = [
            ("`out`", self.out.join(FACTS)),
            ("`manifest`", self.manifest.files[0]),
            ("the image", image),
        ]
        found = clusters.ask_machines(
            ray, environment.describe, packages, readable, variables=devices.variables
        )
        environment.compare(environment.describe(packages, readable), found)

    def start(self, ray: ModuleType, devices: Devices, engine: str) -> Iterator[dict[str, Any]]:
        """Yield a report of each part, as workers finish them."""
        model = self.out.join(_MODEL)
        with temporary_folder() as folder:
            model.write(tlkit.save(self.model, folder / _MODEL).read_bytes())
        try:
            files = self.out.list_files(feature_files.ENDING)
            index = feature_files.make_index(files)
        except OSError as error:
            raise ConfigError(
                Argument("out"),
                f" must be a folder that can be read, got '{self.out}': {explain(error)}.",
            ) from error
        job = Job(
            manifest=self.manifest,
            out=self.out,
            model=model,
            index=ray.put(index) if len(index.digests) else None,
            pictures=self.pictures,
            cache=self.cache,
            engine=engine,
            num_features=count_features(self.model, self.cut),
            frozen=self.frozen,
        )
        return dispatch.run(job, self.parts, devices)


def _check_same(known: dict[str, Any] | None, facts: dict[str, Any], out: Location) -> None:
    """Raise an error if a folder has features whose facts differ.

    The facts of an extraction that ended before it wrote features do not count.
    """
    different = [name for name in facts if known is not None and known.get(name) != facts[name]]
    if known is not None and different and out.list_files(feature_files.ENDING):
        shown = [
            f"{name}: {show(known.get(name))} there, {show(facts[name])} now"
            for name in different
            if name != "columns"
        ]
        raise ConfigError(
            Argument("out"),
            f" must be a folder of features of the same classifier, made in the same way, got "
            f"'{out}' with others ({'; '.join(shown) or 'other layers or weights'}). Choose "
            "another folder.",
        )
