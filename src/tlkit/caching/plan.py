"""Each phase's frozen part: found, or the reason why every epoch runs the whole model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras

from tlkit.caching import partition
from tlkit.caching.cache import Cache
from tlkit.caching.extraction import Pass
from tlkit.caching.partition import Cut, NoFixedTrunk
from tlkit.caching.progress import TrunkLines
from tlkit.data import batches, chunks
from tlkit.models import freezing


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenPart:
    """The frozen part of one phase: where it is cut off, and the pass that runs it once."""

    cut: Cut
    once: Pass
    cache: Cache


def parts(
    model: keras.Model,
    plans: Mapping[str, freezing.FreezePlan],
    augmentations: Mapping[str, Sequence[keras.layers.Layer]],
    train: batches.Inputs,
    validation: batches.Inputs | None,
    *,
    cache: Cache | None,
    lines: TrunkLines,
) -> dict[str, FrozenPart | None]:
    """Find each phase's frozen part; changes what is trainable.

    One pass serves several phases as long as none of them trains what a later one runs.

    Args:
        model: The classifier.
        plans: What each phase freezes, by its name.
        augmentations: The layers with which each phase changes its training images.
        train: The training images.
        validation: The validation images.
        cache: How to run and keep; None finds nothing.
        lines: Is told why a phase has none.
    """
    found: dict[str, FrozenPart | None] = dict.fromkeys(plans)
    if cache is None:
        return found
    sample = next(chunks.read(train, rows=1, rank=len(model.input_shape))).images
    cuts: dict[str, Cut] = {}
    for name, plan in plans.items():
        try:
            _require_repeating(train, validation)
            if augmentations[name] and cache.views == 1:
                raise NoFixedTrunk(
                    "augmentation changes its images each time; Cache(views=4) would keep four "
                    "changed copies of each"
                )
            apply(model, plan)
            cuts[name] = partition.find(model, plan, sample, after=cache.cut, views=cache.views > 1)
            lines.tell(f"{name}: {cuts[name].why}")
        except NoFixedTrunk as reason:
            lines.tell(f"{name}: every epoch runs the whole model: {reason}.")
    group: list[str] = []
    for name, cut in cuts.items():
        if not all(
            cut.within(cuts[earlier]) and augmentations[name] == augmentations[earlier]
            for earlier in group
        ):
            group = []
        group.append(name)
        once = Pass(
            model,
            [cuts[each] for each in group],
            cache,
            augmentation=augmentations[name],
            tell=lines.tell,
            meter=lines.meter,
        )
        for each in group:
            found[each] = FrozenPart(cut=cuts[each], once=once, cache=cache)
    return found


def _require_repeating(train: batches.Inputs, validation: batches.Inputs | None) -> None:
    for name, source in {"data": train, "validation_data": validation}.items():
        if source is not None and not chunks.repeats(source):
            raise NoFixedTrunk(
                f"`{name}` begins with other images each time, as a dataset does that shuffles "
                "or augments"
            )


def apply(model: keras.Model, plan: freezing.FreezePlan) -> None:
    """Set what is trainable of a classifier; takes effect when it is compiled."""
    model.trainable = True
    freezing.apply(plan)


def close(found: Iterable[FrozenPart | None]) -> None:
    """Let go of all features."""
    for part in found:
        if part is not None:
            part.once.close()
