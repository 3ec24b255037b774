"""A whole experiment as one value: from where the images are to a trained classifier."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit.data import decoding, manifests
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_folders import from_folder, from_manifest
from tlkit.data.splits import DUPLICATES, Split, split
from tlkit.errors import Argument, ConfigError
from tlkit.experiments import recipes
from tlkit.experiments.recipes import Recipe, Trained
from tlkit.models import backbones

WEIGHTS = ("imagenet", "starter")
RECIPES: dict[str, Callable[..., Recipe]] = {
    "best": recipes.best,
    "fast": recipes.fast,
    "few_images": recipes.few_images,
    "mnist_as_described": recipes.mnist_as_described,
    "tutorial": recipes.tutorial,
}
AUGMENTATIONS: dict[str, Callable[[], keras.layers.Layer]] = {
    "flip": lambda: keras.layers.RandomFlip("horizontal", seed=1),
    "rotate": lambda: keras.layers.RandomRotation(0.03, seed=2),
    "shift": lambda: keras.layers.RandomTranslation(0.1, 0.1, seed=3),
    "zoom": lambda: keras.layers.RandomZoom(0.15, seed=4),
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that decides what comes out; written to a run's `config.json`, and read from there.

    Attributes:
        data: A folder with a folder of images for each class, or a `.csv` or `.parquet` table.
        recipe: A recipe's name, of `tlkit.recipes`.
        image_size: Height and width of the images, in pixels.
        channels: 3 for RGB, 1 for grey.
        fit: "squash", "crop" or "pad", as for `tlkit.sources.from_folder`.
        weights: "imagenet", "starter", or a file's path.
        augment: What may change in training: "flip", "rotate", "shift", "zoom"; with `best`.
        test: The share of images to test on.
        validation: The share on which the temperature is fitted; none of them is trained on.
        duplicates: What happens to look-alikes in different parts, as for `tlkit.splits.split`.
        stratify: Whether each part holds its share of every class to the image, as for
            `tlkit.splits.split`.
        unreadable: What happens to damaged files, as for `tlkit.sources.from_folder`.
        max_unreadable: The share that may be damaged.
        path_column: As for `tlkit.sources.from_manifest`.
        label_column: As for `tlkit.sources.from_manifest`.
        group_column: As for `tlkit.sources.from_manifest`.
        budget: Minutes for training; None takes what it takes.
        seed: Of the split and of training.

    Raises:
        ConfigError: A value is wrong.
    """

    data: str
    recipe: str = "fast"
    image_size: int = 160
    channels: int = 3
    fit: str = "squash"
    weights: str = "imagenet"
    augment: tuple[str, ...] = ()
    test: float = 0.2
    validation: float = 0.0
    duplicates: str = "together"
    stratify: bool = False
    unreadable: str = "fail"
    max_unreadable: float = 0.1
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = None
    budget: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("data", "weights"):
            given = getattr(self, name)
            if not isinstance(given, str | Path):
                raise ConfigError(f"`{name}` must be a path or a name, got {given!r}.")
            object.__setattr__(self, name, str(given))  # what JSON keeps
        arguments.one_of("recipe", self.recipe, RECIPES)
        arguments.at_least("image_size", self.image_size, 1)
        arguments.one_of("duplicates", self.duplicates, DUPLICATES)
        decoding.check_channels(self.channels)
        arguments.at_least("seed", self.seed, 0)
        if not arguments.fraction("test", self.test):
            raise ConfigError(
                Argument("test"), " must be above 0: the classifier is evaluated on test images."
            )
        if not isinstance(self.stratify, bool):
            raise ConfigError(
                Argument("stratify"), f" must be true or false, got {self.stratify!r}."
            )
        if self.budget is not None:
            arguments.positive("budget", self.budget)
        for name in self.augment:
            arguments.one_of("augment", name, AUGMENTATIONS)
        if self.augment and self.recipe != "best":
            best = Argument("recipe", "best")
            raise ConfigError(
                Argument("augment"), " needs ", best, f" (recipe is {self.recipe!r})."
            )

    def check(self) -> None:
        """Refuse a training that could not start, before all its images are read.

        Raises:
            ConfigError: The weights are of no known name and no file, or `image_size` is too small.
        """
        if self.weights not in WEIGHTS and not Path(self.weights).is_file():
            raise ConfigError(
                f"`weights` must be one of {list(WEIGHTS)} or a file, got {self.weights!r}."
                f"{arguments.nearest(self.weights, WEIGHTS)}"
            )
        backbone = backbones.get(RECIPES[self.recipe]().backbone)
        if self.image_size < backbone.min_size:
            raise ConfigError(
                Argument("image_size"),
                f" must be at least {backbone.min_size} for {backbone.name}, got "
                f"{self.image_size}.",
            )

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Experiment":
        """Return the experiment of these values, such as a `config.json` holds under "experiment".

        Raises:
            ConfigError: A value is wrong, or there is none of that name.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(
                    f"An experiment has no {name!r}; it has {names}."
                    f"{arguments.nearest(name, names)}"
                )
        if "data" not in values:
            raise ConfigError("An experiment must have `data`: a folder of images, or a table.")
        augment = values.get("augment") or ()
        if isinstance(augment, str) or not isinstance(augment, list | tuple):
            raise ConfigError(f"`augment` must be a list of names, got {augment!r}.")
        return cls(**{**values, "augment": tuple(augment)})

    @classmethod
    def values_of_run(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the values in a run's `config.json`, its images where they were.

        Raises:
            ConfigError: What it holds under "experiment" is no values.
        """
        values = config["experiment"]
        if not isinstance(values, dict):
            raise ConfigError(f"`experiment` must hold names and values, got {values!r}.")
        there = Path(str(values.get("data", ""))).exists()
        moved = {} if there else {"data": config.get("making", {}).get("data", values.get("data"))}
        return {**values, **moved}  # typed in another folder, maybe

    def values(self) -> dict[str, Any]:
        """Return the values, as JSON keeps them."""
        return {**asdict(self), "augment": list(self.augment)}

    def source(self, class_names: Sequence[str] | None = None) -> ImageDataset:
        """Return the images, looked through but not kept.

        Args:
            class_names: As for `tlkit.sources.from_folder`.

        Raises:
            ConfigError: There is no such folder or table, or columns are named of a folder.
            DataError: Something is wrong with the files; the message lists them.
        """
        how: dict[str, Any] = {
            "image_size": self.image_size,
            "channels": self.channels,
            "fit": self.fit,
            "unreadable": self.unreadable,
            "max_unreadable": self.max_unreadable,
            "class_names": class_names,
        }
        path = Path(self.data)
        if not path.exists() or not (path.is_dir() or path.suffix.lower() in manifests.SUFFIXES):
            why = "it is neither" if path.exists() else "no such file"
            raise ConfigError(
                "`data` must be a folder with a folder for each class, or a .csv or .parquet "
                f"table, got {self.data!r}: {why}."
            )
        if path.is_dir():
            self._refuse_columns()
            return from_folder(self.data, **how)
        return from_manifest(
            self.data,
            path_column=self.path_column,
            label_column=self.label_column,
            group_column=self.group_column,
            **how,
        )

    def _refuse_columns(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if field.name.endswith("_column") and given != field.default:
                raise ConfigError(
                    f"`{field.name}` must be left out for a folder, which has no columns, got "
                    f"{given!r}. Name the images, their labels and groups in a .csv table."
                )

    def split(self, source: ImageDataset) -> Split:
        """Return the parts of the images."""
        return split(
            source,
            test=self.test,
            validation=self.validation,
            duplicates=self.duplicates,
            stratify=self.stratify,
            seed=self.seed,
        )

    def train(
        self,
        parts: Split,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: bool = True,
    ) -> Trained:
        """Train a classifier on the parts' training images.

        Args:
            parts: What `split` returned.
            callbacks: Are told every epoch; a phase that is solved has one.
            verbose: Whether to write a line for every epoch.
        """
        settings: dict[str, Any] = {}
        if self.augment:
            settings["augmentation"] = tuple(AUGMENTATIONS[name]() for name in self.augment)
        return _watched(RECIPES[self.recipe](**settings), callbacks).train(
            parts.train,
            image_size=self.image_size,
            weights=self.weights,
            seed=self.seed,
            budget=self.budget,
            verbose=verbose,
        )


def _watched(recipe: Recipe, callbacks: Sequence[keras.callbacks.Callback]) -> Recipe:
    head, tail = recipe.head, recipe.fine_tune
    if tail is not None:
        tail = replace(tail, callbacks=(*tail.callbacks, *callbacks))
    head = replace(head, callbacks=(*head.callbacks, *callbacks))
    return replace(recipe, head=head, fine_tune=tail)
