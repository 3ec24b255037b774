"""Prove in a process without Keras that an exported file predicts the same as its classifier."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import processes
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import plural
from tlkit.data import unlabelled
from tlkit.data.batches import Arrays
from tlkit.data.lazy_images import LazyImages
from tlkit.deployment import proof_images
from tlkit.deployment.metadata import Metadata, Precision
from tlkit.errors import AccuracyError, EngineError
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.keras_classifier import from_model
from tlkit.evaluation.metrics import compute_metrics
from tlkit.evaluation.significance import McNemar, mcnemar
from tlkit.models.inspection import class_names, is_multi_label, thresholds
from tlkit.training.inputs import true_labels

BATCH_SIZES = (1, 7, 32)  # a graph may be right for one batch size and wrong for another
NUM_BATCHED = 40
_SCORED = 128  # images per batch
TOLERANCES: Mapping[Precision, float | None] = {"float32": 1e-4, "float16": 1e-2, "int8": None}
"""The largest difference of a probability; int8 rounds too much to promise a limit."""

_SCORE_TOLERANCE = 0.05  # a score has steps, one for each distance of a training image
_WORKER = Path(__file__).with_name("proof_worker.py")
_TRAINING = ("caching", "evaluation", "experiments", "models", "plotting", "reports", "training")
_FORBIDDEN = (
    *("imagehash", "joblib", "keras", "matplotlib", "rich", "scipy", "sklearn", "tensorflow"),
    *(f"tlkit.{package}" for package in _TRAINING),
)
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "keras": ("joblib", "keras", "matplotlib", "rich", "scipy", "sklearn", "tensorflow"),
    "saved_model": ("keras", "rich", "scipy", "tensorflow"),  # TensorFlow looks for Keras
}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The comparison of an exported file with its classifier; `print` shows it in sentences.

    Attributes:
        num_images: How many raw images both predicted, in batches of 1, 7 and 32.
        num_pictures: How many image files both predicted too, made from some of these images: grey,
            RGB and RGBA, of other sizes. `comparison` does not count them.
        largest_difference: The largest difference between two probabilities.
        tolerance: The largest difference that was accepted; None without a limit, as for int8.
        agreement: The share of images and files with the same label.
        num_different: How many images have other labels though the margin of the classifier's label
            is above the tolerance.
        score_difference: The largest difference between two out-of-distribution scores; None
            without a score.
        comparison: For labelled images, the accuracy of both, and McNemar's test.
        max_drop: How much lower the accuracy may be, 0 to 1; None without a limit.
        megabytes: The size of the written files, in millions of bytes.
        start_seconds: How long importing the runtime and starting the file took.
        milliseconds: The time per image, in batches of 1 and of 32.
    """

    num_images: int
    num_pictures: int
    largest_difference: float
    tolerance: float | None
    agreement: float
    num_different: int
    score_difference: float | None
    comparison: McNemar | None
    max_drop: float | None
    megabytes: float
    start_seconds: float
    milliseconds: Mapping[str, float]

    @property
    def drop(self) -> float | None:
        """How much lower the file's accuracy is, 0 to 1; None without labels."""
        if self.comparison is None:
            return None
        first, second = self.comparison.accuracies
        return first - second

    def __str__(self) -> str:
        sizes = ", ".join(map(str, BATCH_SIZES))
        kind = "images of random pixels" if self.comparison is None else "labelled test images"
        pictures = plural(self.num_pictures, "file")
        more = f", and on {pictures} made from them, of other sizes and modes"
        limit = "" if self.tolerance is None else f" (at most {self.tolerance:g} accepted)"
        lines = [
            f"run without Keras on {self.num_images:,} {kind} in batches of {sizes}"
            f"{more if self.num_pictures else ''}",
            f"largest difference of a probability {self.largest_difference:.2g}{limit}, "
            f"{100 * self.agreement:.2f} % of labels the same",
        ]
        if self.score_difference is not None:
            lines.append(f'largest difference of "none of these" {self.score_difference:.2g}')
        if self.comparison is not None:
            lines.append(f"accuracy of the model and of the file: {self.comparison}")
        one, many = self.milliseconds["1"], self.milliseconds["32"]
        lines.append(
            f"{self.megabytes:,.2f} MB, starts in {self.start_seconds:.2f} s, {one:.2f} ms an "
            f"image, {many:.2f} ms in batches of 32"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as values that JSON can hold."""
        return asdict(self)


def prove(
    model: keras.Model,
    path: Path,
    about: Metadata,
    test: Arrays | None,
    *,
    tolerance: float | None,
    max_drop: float | None,
) -> Proof:
    """Run an exported file in another process, and compare its predictions with the classifier's.

    Args:
        model: The classifier.
        path: The file.
        about: Its metadata.
        test: Raw images and labels to compare on; None uses random pixels.
        tolerance: The largest accepted difference of a probability; None sets no limit.
        max_drop: How much lower the accuracy may be, 0 to 1; None sets no limit.

    Raises:
        AccuracyError: The accuracy is lower than `max_drop` allows.
        EngineError: The file does not run, or predicts other values.
    """
    with temporary_folder() as folder:
        images = proof_images.make_images(about) if test is None else {"images_0": test[0]}
        pictures = proof_images.write_pictures(folder, next(iter(images.values())), about)
        for stem, block in images.items():
            _write_array(folder / f"{stem}.npy", block, about)
        results, facts = _run_worker(folder, path, about)
        compared: dict[str, Any] = {**images, **({"pictures": pictures} if pictures else {})}
        references = {name: predict(model, each, fit=about.fit) for name, each in compared.items()}
        scores = _score(model, compared, about)
    for size in BATCH_SIZES:
        references[f"batches_{size}"] = references["images_0"][:NUM_BATCHED]
    found = _compare(model, references, results, tolerance or 0)
    comparison = (
        None
        if test is None
        else _compare_accuracy(
            model, np.asarray(test[1]), references["images_0"], results["images_0"]
        )
    )
    proof = Proof(
        num_images=sum(map(len, images.values())),
        num_pictures=len(pictures),
        tolerance=tolerance,
        max_drop=max_drop,
        score_difference=max(
            (
                float(np.abs(results[f"scores_{stem}"] - each).max())
                for stem, each in scores.items()
            ),
            default=None,
        ),
        comparison=comparison,
        megabytes=_measure_size(path) / 1e6,
        **found,
        **facts,
    )
    _check(proof, about.format)
    return proof


def _check(proof: Proof, name: str) -> None:
    limit, error = proof.tolerance, proof.largest_difference
    if limit is not None and not (error <= limit and proof.num_different == 0):
        raise EngineError(
            f"The {name} file must predict what the model does, within {limit:g}, got a "
            f"probability that is {error:.2g} off and {proof.num_different:,} other labels. "
            "Nothing was written."
        )
    scored = proof.score_difference
    if limit == TOLERANCES["float32"] and scored is not None and not scored <= _SCORE_TOLERANCE:
        raise EngineError(
            f"The {name} file must give the scores of none-of-these that the model does, within "
            f"{_SCORE_TOLERANCE:g}, got one that is {scored:.2g} off. Nothing was written."
        )
    if proof.max_drop is not None and proof.drop is not None and proof.drop > proof.max_drop:
        raise AccuracyError(
            f"The {name} file must be less accurate by at most {proof.max_drop:g}, got "
            f"{proof.drop:.4f}: {proof.comparison}. Nothing was written."
        )


def _run_worker(
    folder: Path, path: Path, about: Metadata
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the predictions of the file in a process of its own, and the times."""
    allowed = _ALLOWED.get(about.format, ())
    job = {
        "path": str(path.resolve()),
        "forbidden": [name for name in _FORBIDDEN if name not in allowed],
        "batch_sizes": BATCH_SIZES,
        "num_batched": NUM_BATCHED,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    problem = f"The {about.format} file must run in a process without Keras, but it failed"
    processes.run_python(str(_WORKER), str(folder), problem=problem)
    facts = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    with np.load(folder / "results.npz") as results:
        return dict(results), facts


def _score(
    model: keras.Model, compared: Mapping[str, Any], about: Metadata
) -> dict[str, np.ndarray]:
    """Return the out-of-distribution scores by the name of the images; empty without a score."""
    if not about.has_ood_score:
        return {}
    known = from_model(model)
    how: Any = {"input_shape": about.input_shape, "value_range": about.value_range}
    return {
        name: np.concatenate(
            [
                known.run(block[at : at + _SCORED])[:, -1]
                for _, block in unlabelled.read_blocks(each, fit=about.fit, **how)
                for at in range(0, len(block), _SCORED)
            ]
        )
        for name, each in compared.items()
    }


def _compare(
    model: keras.Model,
    references: Mapping[str, np.ndarray],
    results: Mapping[str, np.ndarray],
    tolerance: float,
) -> dict[str, Any]:
    expected, got = (
        np.concatenate([tables[stem] for stem in references]) for tables in (references, results)
    )
    if is_multi_label(model):
        least = thresholds(model)
        same, margin = (expected >= least) == (got >= least), np.abs(expected - least)
        different = (~same & (margin > tolerance)).any(axis=1)
        same = same.all(axis=1)
    else:
        top = np.sort(expected, axis=1)
        same = expected.argmax(axis=1) == got.argmax(axis=1)
        different = ~same & (top[:, -1] - top[:, -2] > tolerance)
    return {
        "largest_difference": float(np.abs(expected - got).max()),
        "agreement": float(same.mean()),
        "num_different": int(different.sum()),
    }


def _compare_accuracy(
    model: keras.Model, labels: np.ndarray, expected: np.ndarray, got: np.ndarray
) -> McNemar:
    least = thresholds(model) if is_multi_label(model) else None
    known = true_labels(model, labels)
    return mcnemar(
        *(
            compute_metrics(known, rows, class_names=class_names(model), thresholds=least)
            for rows in (expected, got)
        )
    )


def _write_array(path: Path, images: np.ndarray | LazyImages, about: Metadata) -> None:
    """Write images to a file that the worker maps, a few at a time."""
    file = np.lib.format.open_memmap(path, "w+", images.dtype, images.shape)
    for at in range(0, len(images), 64):
        file[at : at + 64] = images[at : at + 64]
    file.flush()


def _measure_size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    return sum(each.stat().st_size for each in files if each.is_file())
