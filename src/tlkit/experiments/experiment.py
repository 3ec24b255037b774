"""The settings of a whole experiment as one value, from the images to a trained classifier."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tlkit._internal import arguments, signatures
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data import naming
from tlkit.errors import Argument, ConfigError
from tlkit.models.pixels import PixelFormat, parse, to_words

# The choices are written out here so that `tlkit --help` imports neither NumPy nor Keras.
# tests/experiments/test_experiment.py compares them with what exists.
RecipeName = Literal["best", "fast", "few_images", "mnist_as_described", "tutorial"]
Augmentation = Literal[
    "flip", "crop", "rotate", "shift", "zoom", "color", "erase", "randaugment", "mixup", "cutmix"
]
Fit = Literal["crop", "pad", "squash"]
Precision = Literal["bfloat16", "float16", "float32"]
Duplicates = Literal["allow", "refuse", "together"]
Unreadable = Literal["fail", "replace", "skip"]
SplitChoice = Literal["auto", "folders", "pool", "random"]
_SAVE = " Save a model first: model.save('backbone.keras')."
_LISTS = (
    *("add", "augment", "authors", "backbones", "image_sizes", "label_columns", "options"),
    *("pixels", "recipe_options"),
)

_OWN_SETTINGS = {"augmentation": "augment", "backbone": "backbone"}
_CHECKED_APART = (
    *("_", "add", "backbone", "data", "image_size", "image_sizes", "pixels", "weights"),
    *("test_data", "validation_data"),
)
PLACES = ("data", "test_data", "validation_data")
"""The settings that are folders or tables of images."""


@dataclass(frozen=True)
class Experiment:
    """All settings that decide the result; a run's `config.json` holds them.

    Each attribute is also an option of `tlkit train`, `probe` and `inspect`, and its line below is
    the help of that option.

    Attributes:
        data: A folder of classes, a .csv, .parquet or .npz file, or a set such as mnist or digits.
        add: More folders or tables of images, of these classes or of new ones, to train on too.
        recipe: The training recipe.
        recipe_options: More arguments of the recipe, such as epochs=4 freeze=0.6, or epochs=10,5.
        image_size: Height and width: 160, 120x200 or 120 200; by default the backbone's own size.
        channels: 3 for RGB, 1 for grey.
        fit: How images of another aspect ratio are fitted.
        weights: "imagenet", "starter" (comes with tlkit), or a weights file.
        backbone: A name, a .keras file, or a KerasHub preset (name, folder, hf://...).
        options: More arguments of the backbone, such as alpha=0.75.
        pixels: Values the backbone takes: byte, caffe, signed, torch, unit, or two numbers.
        num_prefix_tokens: Number of tokens before the patches, if the backbone does not tell it.
        class_weight: "balanced" makes rare classes count as much as frequent ones in training.
        backbones: Choose from these: names, "starter" or name:option=value,option=value.
        image_sizes: Choose from these image sizes; by default `image_size`.
        max_ms: Choose a backbone that takes at most these milliseconds an image.
        max_mb: Choose a backbone of at most these megabytes of weights.
        augment: Random changes of training images; "fast" takes all but mixup and cutmix.
        split: Whether train/, val/ and test/ are the split (folders, pool) or classes (random).
        test_data: Another folder or table, of images to test on.
        validation_data: Another folder or table, of images to use as validation images.
        test: Share of images to test on, where they have no test images of their own.
        validation: Share of images to follow training and fit the temperature on, not to train on.
        folds: Evaluate on all images by this many folds (0: on test images), and train on all.
        limit: Train on at most this many images, drawn at random from each class.
        duplicates: What to do with duplicate and near-duplicate images in different parts.
        stratify: Keep class proportions equal in every part.
        unreadable: What to do with damaged files.
        max_unreadable: Largest share of files that may be damaged.
        white: Value of white in files of more than 8 bits; by default learned from all of them.
        path_column: Column of a table that holds image paths.
        label_column: Column of a table that holds class names.
        label_separator: Sign between several labels of an image, such as "|"; makes it multi-label.
        label_columns: Columns of 0 and 1, one for each class, for multi-label.
        split_column: Column of a table that holds train, val or test, your own split.
        group_column: Column of a table; rows with the same value stay in the same part.
        outside_paths: Accept paths in a table that lead out of its folder: absolute ones, and ../.
        budget: Maximum minutes of training; unlimited by default.
        precision: What fine-tuning computes in; 16 bits are faster on GPUs made for them.
        cluster: Train on the Ray cluster of this address, or "local"; epochs need the extra jax.
        cluster_folder: Folder of features and states that its machines share; by default the run's.
        seed: Random seed of the split and of training.
        title: Title of the report; by default "Classifying" and the name of the images.
        authors: Names of the authors, for the report, the paper and the model card.

    Raises:
        ConfigError: A value is wrong.

    Examples:
        >>> Experiment("photos", backbone="mobilenet", options=("alpha=0.75",)).backbone_options
        {'alpha': 0.75}
    """

    data: str
    _: KW_ONLY
    add: tuple[str, ...] = ()
    recipe: RecipeName = "fast"
    recipe_options: tuple[str, ...] = ()
    image_size: tuple[int, ...] | int | str | None = None
    channels: Literal[1, 3] = 3
    fit: Fit = "squash"
    weights: str = "imagenet"
    backbone: str = "mobilenet_v2"
    options: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    num_prefix_tokens: int | None = None
    class_weight: Literal["balanced"] | None = None
    backbones: tuple[str, ...] = ()
    image_sizes: tuple[int | str, ...] = ()
    max_ms: float | None = None
    max_mb: float | None = None
    augment: tuple[Augmentation, ...] = ()
    split: SplitChoice = "auto"
    test_data: str | None = None
    validation_data: str | None = None
    test: float = 0.2
    validation: float = 0.0
    folds: int = 0
    limit: int | None = None
    duplicates: Duplicates = "together"
    stratify: bool = False
    unreadable: Unreadable = "fail"
    max_unreadable: float = 0.1
    white: int | None = None
    path_column: str = "path"
    label_column: str = "label"
    label_separator: str | None = None
    label_columns: tuple[str, ...] = ()
    split_column: str | None = None
    group_column: str | None = None
    outside_paths: bool = False
    budget: float | None = None
    precision: Precision = "float32"
    cluster: str | None = None
    cluster_folder: str | None = None
    seed: int = 0
    title: str | None = None
    authors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        hints = get_type_hints(Experiment)
        for name, hint in hints.items():
            if name not in _CHECKED_APART and get_origin(hint) is not Literal and hint is not bool:
                signatures.check(name, getattr(self, name), hint)
        self._check_paths()
        self._check_words()
        self._check_choices()
        self._check_numbers()
        self._check_together()
        self._check_augment()

    def _check_paths(self) -> None:
        given: Any = self.pixels
        if not isinstance(given, str | PixelFormat):
            signatures.check("pixels", given, Sequence[Any])
        if not isinstance(given, Sequence) or given != ():
            object.__setattr__(self, "pixels", to_words(parse(self.pixels)))
        for name in ("data", "weights", "backbone"):
            value = getattr(self, name)
            if not isinstance(value, str | Path):
                remedy = _SAVE if name == "backbone" else ""
                wanted = f" must be a path or a name, got {show(value)}.{remedy}"
                raise ConfigError(Argument(name), wanted)
            object.__setattr__(self, name, check_name(name, value))  # JSON has no paths
        for name in ("test_data", "validation_data"):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_name(name, arguments.path(name, place)))
        signatures.check("add", self.add, str | Path | tuple[str | Path, ...])
        added = (self.add,) if isinstance(self.add, str | Path) else self.add
        object.__setattr__(self, "add", tuple(check_name("add", each) for each in added))

    def _check_words(self) -> None:
        texts = {"title": [] if self.title is None else [self.title], "authors": self.authors}
        for name, values in texts.items():
            for value in values:
                if not value.strip() or naming.find_fault(value):
                    wanted = f" must be text in one line, got {show(value)}."
                    raise ConfigError(Argument(name), wanted)

    def _check_choices(self) -> None:
        for name, hint in get_type_hints(Experiment).items():
            value = getattr(self, name, None)
            if get_origin(hint) is Literal and name != "channels":
                arguments.one_of(name, value, get_args(hint))
            if hint is bool and not isinstance(value, bool):
                raise ConfigError(Argument(name), f" must be true or false, got {show(value)}.")
        if type(self.channels) is not int or self.channels not in (1, 3):
            wanted = f" must be 3 (RGB) or 1 (grey), got {show(self.channels)}."
            raise ConfigError(Argument("channels"), wanted)
        if self.class_weight is not None:
            arguments.one_of("class_weight", self.class_weight, ("balanced",))
        _ = self.backbone_options, self.recipe_settings  # checked

    def _check_numbers(self) -> None:
        if self.image_size is not None:
            size = arguments.parse_size("image_size", self.image_size)
            object.__setattr__(self, "image_size", size)
        arguments.seed("seed", self.seed)
        arguments.fraction("validation", self.validation)
        arguments.fraction("max_unreadable", self.max_unreadable)
        if not arguments.fraction("test", self.test):
            raise ConfigError(
                Argument("test"), " must be above 0: the classifier is evaluated on test images."
            )
        if self.folds != 0:
            arguments.at_least("folds", self.folds, 2)
        for name, least in (("limit", 1), ("white", 1), ("num_prefix_tokens", 0)):
            if getattr(self, name) is not None:
                arguments.at_least(name, getattr(self, name), least)
        for name in ("budget", "max_ms", "max_mb"):
            if getattr(self, name) is not None:
                arguments.positive(name, getattr(self, name))
        signatures.check("image_sizes", self.image_sizes, tuple[Any, ...])
        sizes = [arguments.parse_size("image_sizes", size) for size in self.image_sizes]
        object.__setattr__(self, "image_sizes", tuple(sizes))

    def _check_together(self) -> None:
        if self.precision != "float32" and self.recipe == "fast":
            raise ConfigError(
                Argument("precision"),
                f" must be 'float32' for the recipe 'fast', which solves the head in one step, got "
                f"{self.precision!r}.",
            )
        if self.folds:
            for name in ("test_data", "validation_data", "validation", "split_column"):
                if getattr(self, name):
                    raise ConfigError(
                        Argument(name),
                        " must be left out with ",
                        Argument("folds"),
                        ", which tests on all images.",
                    )
        for name in ("add", "backbones", "folds") if self.is_multi_label else ():
            if getattr(self, name):
                raise ConfigError(
                    Argument(name), " must be left out where images can have several classes."
                )

    def _check_augment(self) -> None:
        for name in self.augment:
            arguments.one_of("augment", name, get_args(Augmentation))
        if len(set(self.augment)) < len(self.augment):
            raise ConfigError(
                Argument("augment"), f" must name each change once, got {list(self.augment)}."
            )
        if "randaugment" in self.augment and self.channels == 1:
            colors = Argument("channels", 3)
            raise ConfigError(Argument("augment", "randaugment"), " needs ", colors, ".")
        if self.augment and self.recipe == "mnist_as_described":
            raise ConfigError(
                Argument("augment"),
                " must be left out with ",
                Argument("recipe", self.recipe),
                ", which trains as it was described.",
            )
        mixing = next((name for name in self.augment if name in ("mixup", "cutmix")), None)
        if mixing is not None and self.recipe == "fast":
            raise ConfigError(
                Argument("augment", mixing),
                " needs a recipe that fine-tunes, such as ",
                Argument("recipe", "best"),
                ": it mixes labels, and the head of 'fast' is solved.",
            )

    @property
    def pixel_format(self) -> PixelFormat | None:
        """The pixels that the backbone takes; None if it is to say so itself.

        Examples:
            >>> Experiment("photos", backbone="mine.keras", pixels=("-1", "1")).pixel_format
            PixelFormat(range=(-1, 1), mean=None, std=None, bgr=False)
        """
        return parse(self.pixels) if self.pixels else None

    @property
    def is_search(self) -> bool:
        """Whether backbone, image size and depth are chosen by probing.

        Examples:
            >>> Experiment("photos", max_mb=2).is_search
            True
        """
        limited = self.max_ms is not None or self.max_mb is not None
        return bool(self.backbones or self.image_sizes or limited)

    @property
    def backbone_options(self) -> dict[str, Any]:
        """The arguments of the backbone's constructor that `options` names.

        Raises:
            ConfigError: One is not of the form name=value.

        Examples:
            >>> Experiment("photos", options=("alpha=0.75",)).backbone_options
            {'alpha': 0.75}
        """
        return _read_options("options", self.options)

    @property
    def recipe_settings(self) -> dict[str, Any]:
        """The arguments of the recipe that `recipe_options` names.

        Raises:
            ConfigError: One is not of the form name=value, or is a setting of its own.

        Examples:
            >>> Experiment("photos", recipe_options=("epochs=4",)).recipe_settings
            {'epochs': 4}
            >>> Experiment("photos", recipe_options=("epochs=10,5",)).recipe_settings
            {'epochs': [10, 5]}
        """
        found = _read_options("recipe_options", self.recipe_options)
        for name, setting in _OWN_SETTINGS.items():
            if name in found:
                raise ConfigError(
                    Argument("recipe_options"),
                    f" must not have {name!r}, for which there is ",
                    Argument(setting),
                    ".",
                )
        return found

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can have several classes, or none."""
        return len(self.label_columns) > 0 or self.label_separator is not None

    @classmethod
    @check_arguments
    def from_dict(cls, values: Mapping[str, Any]) -> "Experiment":
        """Return the experiment with these settings, the inverse of `to_dict`.

        Raises:
            ConfigError: A value is wrong, or a name is unknown.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(
                    f"An experiment has no {name!r}; it has {names}."
                    f"{arguments.nearest(name, names)}"
                )
        if "data" not in values:
            raise ConfigError(
                "An experiment must have `data`: a folder of images, a table or the name of a set."
            )
        lists = {name: values.get(name) or () for name in _LISTS}
        for name, given in lists.items():
            if isinstance(given, str) or not isinstance(given, list | tuple):
                raise ConfigError(Argument(name), f" must be a list of names, got {show(given)}.")
        return cls(**{**values, **{name: tuple(given) for name, given in lists.items()}})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON can hold."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _LISTS}}


def check_name(argument: str, path: str | Path) -> str:
    """Return a path as text if it can be written to a run's files.

    Raises:
        ConfigError: It is not UTF-8, or has control characters.
    """
    fault = naming.find_fault(str(path))
    if fault:
        raise ConfigError(
            Argument(argument), f" must be a path that can be written, got {str(path)!r}: {fault}."
        )
    return str(path)


def settings_of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the experiment's settings in a run's `config.json`.

    A relative path to the images may have been valid only in the folder where the command was
    typed; the absolute path that the run recorded then replaces it.

    Raises:
        ConfigError: Its entry "experiment" does not hold settings.
    """
    values = config["experiment"]
    if not isinstance(values, dict):
        raise ConfigError(f"`experiment` must hold names and values, got {show(values)}.")
    recorded = config.get("making", {})
    moved = {
        name: recorded.get(name) or values[name]
        for name in PLACES
        if values.get(name) and not Path(str(values[name])).exists()
    }
    added = values.get("add") or []
    if not all(Path(str(place)).exists() for place in added):
        moved["add"] = recorded.get("add", added)
    return {**values, **moved}


def _read_options(argument: str, options: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that options of the form name=value name."""
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name.isidentifier() and equals and value):
            raise ConfigError(
                Argument(argument), f" must be of the form name=value, got {show(option)}."
            )
        found[name] = _read_value(value)
    return found


def _read_value(text: str) -> Any:
    """Return a value written as JSON or as numbers with commas between them, or else the text."""
    for form in (text, f"[{text}]"):
        try:
            return json.loads(form)
        except (RecursionError, ValueError):  # text; or deep, or a number of 5,000 digits
            continue
    return text
