"""The classifier of a demo, of Keras or from an exported file, and how it reads images."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from tlkit._internal import text
from tlkit.data import unlabelled
from tlkit.data.decoding import PICTURE_FORMATS, Fit, UnreadableImageError
from tlkit.deployment.predictor import MAX_PIXELS, Prediction
from tlkit.errors import ConfigError
from tlkit.evaluation.file_classifier import FileClassifier
from tlkit.evaluation.keras_classifier import from_model
from tlkit.experiments import run_files
from tlkit.experiments.classifiers import load_classifier
from tlkit.experiments.exported import is_exported, load_exported
from tlkit.plotting.captions import to_drawable
from tlkit.plotting.saliency import blend_heat, grad_cam
from tlkit.training.ood_detector import KEPT

_SIDE = 480  # pixels of the longer side of a Grad-CAM picture


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoSubject:
    """A classifier as a demo uses it.

    Attributes:
        classifier: The classifier that predicts.
        model: The Keras classifier, which Grad-CAM can explain; None for an exported file.
        fit: How images of another aspect ratio are fitted.
        white: The value of white in files of more than 8 bits; None finds it for each file.
        ood_threshold: The score above which an image is probably none of the classes.
        title: A title that names the classes.
        description: A sentence on the task and the accuracy.
        columns: The columns of a table that can be added to the training images.
    """

    classifier: FileClassifier
    model: keras.Model | None
    fit: Fit
    white: int | None
    ood_threshold: float
    title: str
    description: str
    columns: dict[str, Any]

    @property
    def thresholds(self) -> dict[str, float] | None:
        """For multi-label, the threshold of each class; None otherwise."""
        values = self.classifier.thresholds
        if values is None:
            return None
        return dict(zip(self.classifier.class_names, values.tolist(), strict=True))

    def read(self, file: Path) -> np.ndarray:
        """Return the pixels of an image file, read as in training.

        Raises:
            UnreadableImageError: The file can't be read as an image, or is too large.
        """
        content = file.read_bytes()  # errors in decoding these name no file of the server
        _check_format(content)
        return unlabelled.read_file(
            content,
            input_shape=self.classifier.input_shape,
            value_range=self.classifier.value_range,
            fit=self.fit,
            white=self.white,
            max_pixels=MAX_PIXELS,
        )

    def predict(self, file: Path) -> Prediction:
        """Return the prediction for an image file.

        Raises:
            UnreadableImageError: The file can't be read as an image, or is too large.
        """
        known = self.classifier
        row = known.run(self.read(file)[None])[0]
        shares = row[: len(known.class_names)]
        order = np.argsort(-shares, kind="stable")
        labels = None
        if known.thresholds is not None:
            chosen = np.flatnonzero(shares >= known.thresholds)
            labels = tuple(known.class_names[at] for at in chosen)
        score = float(row[-1]) if known.has_ood_score else None
        return Prediction(
            classes=tuple((known.class_names[at], float(shares[at])) for at in order),
            labels=labels,
            ood_score=score,
            is_unlike=None if score is None else score > self.ood_threshold,
        )

    def explain(self, file: Path, label: str) -> Image.Image:
        """Return a picture of the evidence in an image file for a class, with Grad-CAM.

        Raises:
            ConfigError: Grad-CAM can't explain this network.
        """
        if self.model is None:
            raise ConfigError("Grad-CAM needs a classifier of Keras, got an exported file.")
        pixels = self.read(file)
        index = self.classifier.class_names.index(label)
        heat = grad_cam(self.model, pixels[None], [index])[0]
        blended = blend_heat(to_drawable(pixels, self.classifier.value_range), heat)
        picture = Image.fromarray((255 * blended.clip(0, 1)).round().astype("uint8"))
        width, height = picture.size
        if self.fit == "squash":
            with Image.open(file) as opened:
                width, height = ImageOps.exif_transpose(opened).size
        scale = _SIDE / max(width, height)
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        return picture.resize(size, Image.Resampling.BICUBIC)


def _check_format(content: bytes) -> None:
    """Refuse files in other formats: Pillow would start another program to read PostScript.

    Raises:
        UnreadableImageError: The file is not a picture of a known format.
    """
    known = sorted(PICTURE_FORMATS & Image.OPEN.keys())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused later
            Image.open(io.BytesIO(content), formats=known).close()
    except Exception as error:  # the readers of Pillow have no class in common
        reason = "its image format is unknown" if content else "it is empty"
        raise UnreadableImageError("", reason) from error


def load_subject(path: Path) -> DemoSubject:
    """Return the classifier of a run, a .keras file or an exported file, for a demo.

    Raises:
        ConfigError: There is no such classifier.
        MissingExtraError: The runtime of an exported file is not installed.
    """
    if is_exported(path):
        classifier, about = load_exported(path)
        return DemoSubject(
            classifier=classifier,
            model=None,
            fit=about.fit,
            white=about.white,
            ood_threshold=about.ood_threshold,
            title=_name(classifier),
            description=_describe(classifier, None),
            columns={},
        )
    model, experiment = load_classifier(path, data="")
    classifier = from_model(model)
    return DemoSubject(
        classifier=classifier,
        model=model,
        fit=experiment.fit,
        white=experiment.white,
        ood_threshold=KEPT,
        title=_name(classifier),
        description=_describe(classifier, path if path.is_dir() else None),
        columns=_read_columns(path if path.is_dir() else path.parent),
    )


def _read_columns(run: Path) -> dict[str, Any]:
    """Return the columns of a run's table; empty if the run read a folder."""
    file = run / "config.json"
    config = run_files.read_json(file) if file.is_file() else {}
    with run_files.explain_damage(file):
        known = config.get("experiment") or {}
        names = ("path_column", "label_column", "label_separator")
        columns = {name: known[name] for name in names if known.get(name)}
        return {**columns, "label_separator": None} if known.get("label_columns") else columns


def _name(classifier: FileClassifier) -> str:
    names = classifier.class_names
    return f"Classify images: {text.join_first(names, limit=4)}"


def _describe(classifier: FileClassifier, run: Path | None) -> str:
    """Return a sentence on a classifier's task, with its accuracy if the run states it."""
    count = len(classifier.class_names)
    several = classifier.thresholds is not None
    what = f"Finds which of {count:,} classes" if several else f"Tells {count:,} classes apart"
    what += " an image shows" if several else ""
    file = None if run is None else run / "metrics.json"
    if file is None or not file.is_file():
        return f"{what}."
    metrics = run_files.read_json(file)
    images, accuracy = metrics.get("count"), metrics.get("accuracy")
    if not images or accuracy is None:
        return f"{what}."
    with run_files.explain_damage(file):
        share = text.percent(accuracy, of=images)
    verb = "All classes were right" if several else "Right"
    return f"{what}. {verb} for {share} of {images:,} test images."
