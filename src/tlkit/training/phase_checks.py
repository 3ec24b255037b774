"""Check phases against the model and the data, before any phase starts."""

import keras

from tlkit.data.augmentation import mixes_labels
from tlkit.data.batches import Data, Inputs
from tlkit.data.checked_batches import CheckedBatches
from tlkit.data.checks import LabelForm
from tlkit.errors import ConfigError, DataError
from tlkit.models import freezing
from tlkit.models.inspection import head_of
from tlkit.training import class_weights, inputs
from tlkit.training.fit import count_steps
from tlkit.training.losses import check_loss_and_metrics, find_form
from tlkit.training.phase import Phase, SolvedHead, plan_freezing


def plan_phase(
    model: keras.Model, phase: Phase | SolvedHead, *, validates: bool
) -> freezing.FreezePlan:
    """Return the freeze plan of a phase, after checking the phase against the model.

    Args:
        model: The classifier.
        phase: The phase.
        validates: Whether there are validation images.

    Raises:
        ConfigError: The phase leaves nothing to train, needs validation images that are missing, or
            does not fit the model.
    """
    plan = plan_freezing(model, phase)
    if phase.class_weight != "balanced":
        phase.weigh_classes(model.output_shape[-1])
    if isinstance(phase, SolvedHead):
        head_of(model)
        return plan
    fixed = {id(weight) for norm in plan.frozen_batchnorm for weight in norm.weights}
    left = {id(weight) for layer in plan.trained for weight in layer.weights} - fixed
    if not left and phase.freeze is not freezing.everything:
        raise ConfigError(
            f"`freeze` must leave weights of {plan.backbone.name} to train, got a selection of "
            f"{len(plan.frozen)} of its {len(plan.backbone.layers)} layers that leaves none. "
            "Freeze fewer, or use tlkit.freezing.everything to train the head alone."
        )
    if phase.patience is not None and phase.monitor.startswith("val_") and not validates:
        raise ConfigError(
            f"`patience` needs `validation_data`, because it watches {phase.monitor!r}."
        )
    return plan


def validate_both(
    model: keras.Model, data: Data, validation_data: Data | None
) -> tuple[Inputs, Inputs | None]:
    """Return training and validation images in one form, checked against the model.

    Raises:
        DataError: They don't fit the model, or their labels have different forms.
    """
    inputs.adopt_class_names(model, data)
    train = inputs.validate(data, model, uses_weights=True)
    if validation_data is None:
        return train, None
    held_out = inputs.validate(validation_data, model, "validation_data", uses_weights=True)
    _check_same_form(find_form(model, train), find_form(model, held_out))
    return train, held_out


def _check_same_form(form: LabelForm, validation_form: LabelForm) -> None:
    if form != validation_form:
        raise DataError(
            f"`validation_data` labels must have the form of the training labels, {form}, "
            f"got {validation_form}. tlkit.data.one_hot makes integers one-hot."
        )


def check_data(model: keras.Model, phase: Phase | SolvedHead, data: Inputs) -> None:
    """Check that the training images fit a phase.

    Raises:
        ConfigError: The phase's augmentation, loss, metrics or class weights don't fit them.
    """
    data = inputs.soften_labels(data, phase.augmentation, model)
    inputs.check_augmentation(model, phase.augmentation, data)
    class_weights.refuse_multi_label(phase, model)
    if not isinstance(phase, Phase):
        return
    count_steps(data, phase)
    form = find_form(model, data)
    check_loss_and_metrics(phase, num_classes=model.output_shape[-1], form=form)
    if phase.class_weight is not None and mixes_labels(phase.augmentation):
        raise ConfigError(
            "`class_weight` must be left out with MixUp and CutMix: a mixed image has no class."
        )
    if phase.class_weight is not None and isinstance(data, CheckedBatches) and data.has_weights:
        raise ConfigError(
            "`class_weight` must be left out where `data` has image weights: Keras takes one of "
            "both. Multiply the image weights by the class weights."
        )
