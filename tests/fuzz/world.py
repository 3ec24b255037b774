"""What valid calls need: images in every form, classifiers, files, and a finished run."""

import functools
import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit.cli import app

NAMES = ("ant", "bee", "cat")


class World:
    """Everything is made when it is first used, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def new(self, ending: str = "") -> Path:
        """Return a path that does not exist yet."""
        (self.folder / "out").mkdir(exist_ok=True)
        return self.folder / "out" / f"{next(self._numbers)}{ending}"

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return make_stripes(24, contrast=150)

    @functools.cached_property
    def data(self) -> tlkit.data.ImageDataset:
        images, labels = self.arrays
        return tlkit.sources.from_arrays(images, labels, class_names=NAMES, name="noise")

    @functools.cached_property
    def parts(self) -> tlkit.data.Split:
        return tlkit.splits.split(self.data, test=0.4, validation=0.2, duplicates="allow")

    @functools.cached_property
    def backbone(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        image = keras.Input((16, 16, 3), name="image")
        x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="stem")(image)
        x = keras.layers.BatchNormalization(name="stem_bn")(x)
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(x)
        return keras.Model(image, x, name="tiny")

    def fresh(self) -> keras.Model:
        """Return a classifier that a call may train."""
        return small_classifier(keras.models.clone_model(self.backbone), class_names=NAMES)

    @functools.cached_property
    def model(self) -> keras.Model:
        return self.fresh()

    @functools.cached_property
    def scored(self) -> keras.Model:
        model = self.fresh()
        tlkit.train_phase(model, tlkit.SolvedHead(), self.data, verbose=False)
        tlkit.fit_ood(model, self.data)
        return model

    @functools.cached_property
    def saved(self) -> Path:
        return tlkit.save(self.model, self.folder / "saved.keras")

    @functools.cached_property
    def exported(self) -> Path:
        return tlkit.export(self.model, self.folder / "exported.keras").path

    @functools.cached_property
    def photos(self) -> Path:
        """Ten images of two classes, as files."""
        images, _ = make_stripes(20, (32, 32, 3), contrast=150, seed=1)
        for number, image in enumerate(images):
            folder = self.folder / "photos" / NAMES[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
        return self.folder / "photos"

    @functools.cached_property
    def listed(self) -> tlkit.data.ImageDataset:
        return tlkit.sources.from_folder(self.photos, image_size=32)

    @functools.cached_property
    def photo_parts(self) -> tlkit.data.Split:
        return tlkit.experiments.split_images(self.experiment, self.listed)

    @functools.cached_property
    def table(self) -> Path:
        paths = sorted(self.photos.rglob("*.png"))
        lines = [f"{path},{path.parent.name},{number}" for number, path in enumerate(paths)]
        table = self.folder / "photos.csv"
        table.write_text("\n".join(["path,label,group", *lines]))
        return table

    @functools.cached_property
    def experiment(self) -> tlkit.experiments.Experiment:
        return tlkit.experiments.Experiment(
            str(self.photos), image_size=32, weights="starter", duplicates="allow", test=0.4
        )

    @functools.cached_property
    def run(self) -> Path:
        """A run that `tlkit train` wrote."""
        out = self.folder / "run"
        words = [str(self.photos), "--out", str(out), "--image-size", "32", "--test", "0.4"]
        words += ["--weights", "starter", "--duplicates", "allow", "--json", "--no-cache"]
        assert app.main(["train", *words]) == app.DONE
        return out

    @functools.cached_property
    def phase_run(self) -> tlkit.training.PhaseRun:
        return tlkit.train_phase(
            self.fresh(), tlkit.Phase(), self.data, validation_data=self.data, verbose=False
        )

    @functools.cached_property
    def record(self) -> tlkit.training.Run:
        return tlkit.training.Run(phases=(self.phase_run,))

    @functools.cached_property
    def evaluation(self) -> tlkit.evaluation.Evaluation:
        return tlkit.evaluate(self.model, self.data)

    @functools.cached_property
    def audit(self) -> tlkit.evaluation.Audit:
        return tlkit.audit(self.model, self.data, num_folds=2)

    @functools.cached_property
    def probe(self) -> tlkit.evaluation.Probe:
        return tlkit.probe(self.model, self.data)

    @functools.cached_property
    def search(self) -> tlkit.evaluation.BackboneSearch:
        candidate = tlkit.evaluation.BackboneCandidate(backbone=self.backbone, pixels=(0, 1))
        return tlkit.probe_backbones([candidate], self.data)

    @functools.cached_property
    def facts(self) -> Any:
        from tests.reports.example import facts

        return facts()

    @functools.cached_property
    def predictor(self) -> tlkit.deployment.Predictor:
        return tlkit.deployment.Predictor(self.exported)

    @functools.cached_property
    def prediction(self) -> tlkit.deployment.Prediction:
        return self.predictor.predict(self.arrays[0][:1])[0]

    @functools.cached_property
    def saved_model(self) -> keras.Model:
        """A classifier of colour images."""
        return small_classifier(self.backbone, class_names=NAMES, input_shape=(32, 32, 3))

    @functools.cached_property
    def multi(self) -> keras.Model:
        return small_classifier(self.backbone, class_names=NAMES, multi_label=True)

    @functools.cached_property
    def calibrated(self) -> keras.Model:
        model = self.fresh()
        images, labels = make_stripes(300, contrast=20, seed=2)
        tlkit.calibrate(model, (images, labels))
        return model

    @functools.cached_property
    def store(self) -> tlkit.caching.Store:
        return tlkit.caching.Store(folder=self.folder / "store")
