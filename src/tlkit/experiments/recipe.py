"""A recipe: all settings of a training as one value; `tlkit.recipes` has named recipes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments, user_warnings
from tlkit._internal.signatures import check_arguments
from tlkit.caching import cost, plan
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import CacheProgress
from tlkit.data.batches import Data
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation import ood
from tlkit.evaluation.candidates import Choice
from tlkit.evaluation.probing.linear_probe import MAX_JOINT_FEATURES
from tlkit.experiments import recipe_checkpoint
from tlkit.experiments.layer_choice import choose_layers
from tlkit.experiments.recipe_checkpoint import RecipeCheckpoint
from tlkit.experiments.recipe_training import RecipeTraining
from tlkit.experiments.trained import Trained
from tlkit.experiments.trials import choose_and_train
from tlkit.models.applications import SPECS
from tlkit.models.builder import build_classifier
from tlkit.models.feature_extraction import Pooling
from tlkit.models.inspection import probabilities_of
from tlkit.models.pixels import PixelFormat, parse
from tlkit.training import ood_detector
from tlkit.training.class_weights import ClassWeight
from tlkit.training.inputs import validate
from tlkit.training.phase import Phase, SolvedHead, plan_freezing
from tlkit.training.records import Run
from tlkit.training.trainer import TwoPhaseTrainer

_SIZE = 32  # pixels per side, to which smaller images are enlarged
_PROBE_SHARE = 1 / 2  # of a budget
_MIN_LEFT = 0.05  # of a budget; with less time left, it counts as used up


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of building and training a classifier.

    Attributes:
        name: The recipe's name.
        backbone: The backbone, as in `build_classifier`: a name, a file, a preset or a model.
        pixels: The pixel format that the backbone expects; None means that of its pretraining.
        head: The first phase.
        fine_tune: The second phase; None trains the head only.
        features: The layers that the head reads, as in `build_classifier`; "auto" probes the
            training images.
        pooling: How feature maps become features, as in `build_classifier`.
        max_layers: The maximum number of layers that "auto" joins, as in `select_features`.
        max_images_to_join: The number of images up to which "auto" joins layers; with more images
            it selects one layer. None sets no limit.
        held_out: The share of the training images, 0 to below 1, on which fine-tuning is compared
            with the head alone, before training on all images. Callbacks are called in these
            epochs too. With 0, there is no comparison.
    """

    name: str
    backbone: str | keras.Model
    pixels: PixelFormat | tuple[float, float] | str | None
    head: Phase | SolvedHead
    fine_tune: Phase | None
    features: str | tuple[str, ...] | None = None
    pooling: Pooling | None = None
    max_layers: int = 1
    max_images_to_join: int | None = None
    held_out: float = 0.0

    def __post_init__(self) -> None:
        arguments.fraction("held_out", self.held_out)
        if self.pixels is not None:
            object.__setattr__(self, "pixels", parse(self.pixels))

    @check_arguments
    def build(
        self,
        data: ImageDataset,
        *,
        image_size: int | tuple[int, int] | None = None,
        weights: str | None = "imagenet",
        backbone_options: Mapping[str, Any] | None = None,
        pixels: PixelFormat | tuple[float, float] | str | None = None,
        num_prefix_tokens: int | None = None,
        cache: Cache | None = None,
        also: Sequence[ImageDataset] = (),
        checkpoint: str | Path | None = None,
        probe_seconds: float | None = None,
        verbose: bool = False,
    ) -> keras.Model:
        """Build the recipe's classifier for these images; with "auto" features, probe first.

        Args:
            data: The training images, which determine input shape, value range and class names.
            image_size: Height and width that images are resized to. For backbones of
                keras.applications the default is the size of the images, but at least 32 and the
                smallest size that the backbone takes; for others it is the backbone's own size.
            weights: "imagenet", "starter", None for random weights, or a file's path.
            backbone_options: Other arguments of the backbone's constructor: `{"alpha": 0.35}`.
            pixels: As for `build_classifier`; by default the recipe's `pixels`.
            num_prefix_tokens: As for `build_classifier`.
            cache: As for `probe`.
            also: As for `probe`.
            checkpoint: A folder that stores the result of the probe, so that it is not repeated.
            probe_seconds: About how long the probe may take, by probing fewer images; None sets no
                limit.
            verbose: As for `probe`.

        Raises:
            ConfigError: The images are not an `ImageDataset`.
        """
        if not isinstance(data, ImageDataset):
            raise ConfigError(
                Argument("data"),
                f" must be an ImageDataset, such as split.train, got {type(data).__name__}. "
                "tlkit.sources makes one of arrays, files or batches.",
            )
        features: Any = self.features
        if features == "auto":
            features = choose_layers(
                data,
                max_layers=self._count_layers(data),
                seconds=probe_seconds,
                cache=cache,
                also=also,
                verbose=verbose,
            )
        shape = data.images.shape[1:]
        if image_size is None and self.backbone in SPECS:
            least = max(_SIZE, SPECS[self.backbone].min_size)
            image_size = (max(shape[0], least), max(shape[1], least))
        return build_classifier(
            self.backbone,
            len(data.class_names),
            input_shape=shape if len(shape) == 3 else (*shape, 1),
            image_size=image_size,
            value_range=data.value_range,
            pixels=self.pixels if pixels is None else pixels,
            num_prefix_tokens=num_prefix_tokens,
            weights=weights,
            backbone_options=backbone_options,
            features=recipe_checkpoint.keep_features(features, self.name, data, checkpoint),
            pooling=self.pooling,
            class_names=data.class_names,
            multi_label=data.is_multi_label,
        )

    def _count_layers(self, data: ImageDataset) -> int:
        """Return how many layers may be joined for these images."""
        at_most = self.max_images_to_join
        return self.max_layers if at_most is None or len(data) <= at_most else 1

    def _weigh_classes(self, class_weight: ClassWeight) -> "Recipe":
        tuned = self.fine_tune
        return replace(
            self,
            head=replace(self.head, class_weight=class_weight),
            fine_tune=None if tuned is None else replace(tuned, class_weight=class_weight),
        )

    def _choose_followed(
        self, validation_data: ImageDataset | None, budget: float | None
    ) -> ImageDataset | None:
        """Return the images to evaluate after every epoch; None without images, epochs or time."""
        has_epochs = self.fine_tune is not None or isinstance(self.head, Phase)
        if validation_data is None or not len(validation_data) or not has_epochs:
            return None
        return None if budget is not None else validation_data

    def _run(self, training: RecipeTraining, data: ImageDataset) -> tuple[Run, Choice | None]:
        """Train the phases, after a choice of candidates if images are held out for it."""
        if self.fine_tune is None or not self.held_out:
            return training.run(data), None
        return choose_and_train(training, self.fine_tune, data, share=self.held_out)

    @check_arguments
    def augment(self, layers: Sequence[keras.layers.Layer]) -> "Recipe":
        """Return the recipe with random changes of the images in its last phase.

        A head that is solved needs `Cache(views=...)` for this.

        Args:
            layers: As for `Phase`, for example from `tlkit.data.create_augmentation`.
        """
        if self.fine_tune is None:
            return replace(self, head=replace(self.head, augmentation=tuple(layers)))
        return replace(self, fine_tune=replace(self.fine_tune, augmentation=tuple(layers)))

    @check_arguments
    def trainer(
        self,
        *,
        seed: int,
        cache: Cache | None = DEFAULT,
        checkpoint: str | Path | None = None,
    ) -> TwoPhaseTrainer:
        """Return the trainer that runs both phases.

        Args:
            seed: As for TwoPhaseTrainer.
            cache: As for TwoPhaseTrainer; None computes the whole model in every epoch.
            checkpoint: As for TwoPhaseTrainer.
        """
        return TwoPhaseTrainer(
            head=self.head,
            fine_tune=self.fine_tune,
            seed=seed,
            cache=cache,
            checkpoint=checkpoint,
        )

    @check_arguments
    def cached_bytes(self, model: keras.Model, data: Data) -> dict[str, int]:
        """Return the number of bytes of features that each phase would cache for one image.

        It is 0 if every epoch computes the whole model. With "auto" features it is an upper bound,
        because the layers are known only after probing.

        Args:
            model: A classifier on the recipe's whole backbone; its trainable layers are changed.
            data: The images, in any form; the model is called with one of them.
        """
        phases: dict[str, Phase | SolvedHead] = {"head": self.head}
        if self.fine_tune is not None:
            phases["fine_tune"] = self.fine_tune
        plans = {name: plan_freezing(model, phase) for name, phase in phases.items()}
        augmentations = {name: phase.augmentation for name, phase in phases.items()}
        lines = CacheProgress(verbose=False)
        train = validate(data, model)
        parts = plan.find_frozen_parts(
            model, plans, augmentations, train, validation_data=None, cache=DEFAULT, progress=lines
        )
        plan.close_all(parts.values())
        kept = {
            name: 0 if part is None else part.cut.bytes_per_image for name, part in parts.items()
        }
        if self.features == "auto" and kept["head"]:
            kept["head"] = MAX_JOINT_FEATURES * cost.FEATURE_BYTES
        return kept

    @check_arguments
    def train(
        self,
        data: ImageDataset,
        *,
        image_size: int | tuple[int, int] | None = None,
        weights: str | None = "imagenet",
        backbone_options: Mapping[str, Any] | None = None,
        pixels: PixelFormat | tuple[float, float] | str | None = None,
        num_prefix_tokens: int | None = None,
        class_weight: ClassWeight | None = None,
        seed: int = 0,
        budget: float | None = None,
        cache: Cache | None = DEFAULT,
        also: Sequence[ImageDataset] = (),
        validation_data: ImageDataset | None = None,
        checkpoint: str | Path | None = None,
        verbose: bool = True,
    ) -> Trained:
        """Build a classifier and train it.

        Args:
            data: The training images.
            image_size: As for `build`.
            weights: As for `build`.
            backbone_options: As for `build`.
            pixels: As for `build`.
            num_prefix_tokens: As for `build`.
            class_weight: As for `Phase`, in both phases; None uses the setting of each phase.
            seed: Random seed of the initial head, the order of images and all other random choices.
            budget: Maximum minutes. The probe gets a half at most, and uses fewer images if this
                is too short. A few steps are timed first; fine-tuning then has as many epochs as
                fit, or is skipped if not one fits. Both phases stop when the time is over, even
                within an epoch, and a cosine schedule ends at this time. The time for building,
                computing the frozen part and solving a head counts, but these are never stopped.
                With `checkpoint`, the time of earlier processes counts too; a training whose time
                was over continues with a larger budget.
            cache: As for TwoPhaseTrainer; a probe reads features from its folder too.
            also: As for `probe`.
            validation_data: Images that are evaluated after every epoch. They choose nothing, and
                the weights are the same without them, bit for bit. A recipe that only solves its
                head has no epochs and does not use them; with a budget, all time is for training,
                and they are not used either.
            checkpoint: A folder for the state of the training, as for `TwoPhaseTrainer`: the result
                of the probe, and the state after each epoch.
            verbose: Whether to print the result of the probe, and a line for every epoch.

        Raises:
            ConfigError: The budget is not above 0, or `checkpoint` is of another training.
            StoreError: A checkpoint can't be written, or is damaged.
            TrainingInterrupted: Ctrl-C stopped the training; its `run` records the epochs done.

        Warns:
            UserWarning: The time was over before the last epoch.
        """
        started = time.perf_counter()
        if budget is not None:
            arguments.positive("budget", budget)
        places = RecipeCheckpoint(checkpoint)
        before = places.read_seconds()
        with places.share_features(cache, len(data)) as shared:
            keras.utils.set_random_seed(seed)
            model = self.build(
                data,
                image_size=image_size,
                weights=weights,
                backbone_options=backbone_options,
                pixels=pixels,
                num_prefix_tokens=num_prefix_tokens,
                cache=shared,
                also=also,
                checkpoint=checkpoint,
                probe_seconds=None if budget is None else _PROBE_SHARE * (60 * budget - before),
                verbose=verbose,
            )
            keras.utils.set_random_seed(seed)  # whether or not the probe was stored
            places.write_seconds(time.perf_counter() - started)
            if class_weight is not None:
                self = self._weigh_classes(class_weight)
            until = None if budget is None else started + _find_left(60 * budget, before)
            training = RecipeTraining(
                model=model,
                head=self.head,
                fine_tune=self.fine_tune,
                seed=seed,
                until=until,
                places=places,
                cache=shared,
                validation_data=self._choose_followed(validation_data, budget),
                verbose=verbose,
            )
            run, choice = self._run(training, data)
        _fit_ood(model, data)
        ran_out = recipe_checkpoint.find_end(run, self.fine_tune, choice) if budget else None
        trained = Trained(
            recipe=self.name,
            model=model,
            run=run,
            seconds=before + time.perf_counter() - started,
            choice=choice,
            budget_ran_out=ran_out,
            has_probed=self.features == "auto",
        )
        _warn_of_budget(trained, budget)
        return trained


def _find_left(seconds: float, used: float) -> float:
    """Return the seconds that are left of a budget; 0 if they are too few to be useful."""
    left = seconds - used
    return left if left > _MIN_LEFT * seconds else 0.0


def _warn_of_budget(trained: Trained, budget: float | None) -> None:
    if trained.budget_ran_out:
        user_warnings.warn(
            f"The budget of {budget:g} minutes ran out {trained.budget_ran_out}. A larger "
            "`budget` trains longer."
        )


def _fit_ood(model: keras.Model, data: ImageDataset) -> None:
    """Fit an out-of-distribution detector, unless a solved head has one or images are too few."""
    stored = ood_detector.from_arrays(probabilities_of(model).stored)
    multi_label = getattr(probabilities_of(model), "multi_label", False)
    if stored is None and len(data) >= ood_detector.MIN_IMAGES and not multi_label:
        ood.fit_ood(model, data)
