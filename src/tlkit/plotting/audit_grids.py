"""A grid of the images whose labels an audit suspects."""

import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.evaluation.label_audit import Audit, Suspect, image_name
from tlkit.plotting.image_grids import drawable


def audit_grid(found: Audit, data: Data, *, count: int = 20, columns: int = 5) -> Figure:
    r"""Draw the most suspicious images, each with its file, its label and what it looks like.

    Args:
        found: What `audit` returned.
        data: The images and labels that were audited, in any form; only the images that are drawn
            are read.
        count: How many to draw; all, where there are fewer.
        columns: How many a row.

    Raises:
        ConfigError: `count` or `columns` is below 1.
        DataError: There is no suspect to draw.

    Examples:
        >>> from tlkit.evaluation.label_audit import Suspect
        >>> suspect = Suspect(
        ...     index=1, path=None, label="cat", suggested_label="dog", score=0.02
        ... )
        >>> scores = np.array([0.9, 0.02])
        >>> found = Audit(suspects=(suspect,), outliers=(), scores=scores, num_folds=5)
        >>> data = (np.zeros((2, 8, 8), "uint8"), np.zeros(2, int))
        >>> audit_grid(found, data).axes[0].get_title()
        'image 1\nlabel cat\nsuggested dog'
    """
    arguments.at_least("count", count, 1)
    arguments.at_least("columns", columns, 1)
    images, _ = batches.to_arrays(data)
    shown = found.suspects[:count]
    if not shown:
        raise DataError("`found` must have a suspect to draw, got an audit without any.")
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, suspect in zip(panels, shown, strict=False):
        picture = drawable(np.asarray(images[suspect.index]))
        panel.imshow(picture, cmap="gray", vmin=0, vmax=1)
        panel.set_title(_caption(suspect), fontsize=8, parse_math=False)
        panel.set_xticks([])
        panel.set_yticks([])
    for empty in panels[len(shown) :]:
        empty.remove()
    return figure


def _caption(suspect: Suspect) -> str:
    where = image_name(suspect)
    short = where if len(where) <= 28 else f"...{where[-25:]}"
    return f"{short}\nlabel {suspect.label}\nsuggested {suspect.suggested_label}"
