"""What would probably make a classifier more accurate, by a few rules on the numbers of its run."""

from typing import Literal

from tlkit.reports.facts import PhaseFacts, ReportFacts

Advice = Literal["images", "epochs", "fine-tuning", "backbone", "none"]
"""What to try first."""

_WELL_FITTED = 0.95  # accuracy on training images, above which more fitting can't bring much
_OVERFITTED = 0.05  # by how much the accuracy is higher on training images
_FEW_EPOCHS = 10
_FALLING = 0.98  # a last loss below this share of the loss before it is still falling


def choose(facts: ReportFacts) -> Advice:
    """Return what to try first; "none" if nothing follows from the numbers.

    The rules, of which the first that applies is used:

    1. The accuracy on training images is clearly above that on test images: more images, or random
       changes of them.
    2. The training images are fitted well: none.
    3. The last phase had few epochs, and its loss was still falling: more epochs.
    4. Only the head was trained, and fine-tuning was not tried: fine-tuning.
    5. Otherwise, another backbone or larger images.

    Args:
        facts: The values that the report states; those of a multi-label classifier give "none".
    """
    last = facts.phases[-1] if facts.phases else None
    fitted = None if last is None else last.metrics.get("accuracy")
    if last is None or fitted is None or facts.evaluation.is_multi_label:
        return "none"
    highest = max(facts.evaluation.accuracy_interval[1], facts.evaluation.accuracy + _OVERFITTED)
    if fitted > highest:
        return "images"
    if fitted >= _WELL_FITTED:
        return "none"
    if is_unfinished(last):
        return "epochs"
    if facts.choice is None and not any(phase.trained_layers for phase in facts.phases):
        return "fine-tuning"
    return "backbone"


def is_unfinished(phase: PhaseFacts) -> bool:
    """Return whether a phase had few epochs, and the loss on training images was still falling.

    Args:
        phase: The phase; a head that was solved is never unfinished.
    """
    if phase.learning_rates is None or phase.epochs > _FEW_EPOCHS:
        return False
    if phase.best_epoch < phase.epochs:  # later epochs were worse on the validation images
        return False
    if phase.epochs == 1:
        return True
    return len(phase.losses) > 1 and phase.losses[-1] < _FALLING * phase.losses[-2]
