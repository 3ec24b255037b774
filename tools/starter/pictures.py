"""Random pictures of the forms; no two are the same."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from tools.starter import textures
from tools.starter.forms import INK, SIDE, STEPS, Forms

PLAIN = 0.5  # fraction of pictures in grey, with flat ink on flat ground
NO_FORM = 0.06  # fraction of pictures with a texture but no form
COARSE = 0.4  # fraction of pictures that are drawn smaller and enlarged


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures and their labels.

    Attributes:
        pictures: float32 in [-1, 1], of shape (count, side, side, 3).
        form: The index of the form; the number of forms if there is none.
        fill: The texture of the form, an index into `textures.KINDS`.
        ground: The texture of the background.
    """

    pictures: np.ndarray
    form: np.ndarray
    fill: np.ndarray
    ground: np.ndarray


def weights(forms: Forms) -> np.ndarray:
    """Return each drawing's probability: 4 times the drawings make a form twice as likely."""
    counts = np.bincount(forms.label)
    weight = counts[forms.label] ** -0.5
    return weight / weight.sum()


def render(
    forms: Forms, taken: np.ndarray, side: int, rng: np.random.Generator, *, hard: float = 1
) -> Batch:
    """Render drawings as pictures of side x side pixels.

    Args:
        forms: All drawings.
        taken: Indices of the drawings to render.
        side: Height and width of the pictures.
        rng: Random generator.
        hard: Fraction of pictures that are altered in any way; the others are tame: white on
            black, sharp, and hardly distorted.
    """
    count = len(taken)
    tame = rng.random(count) >= hard
    coarse = np.where(tame, side, _choose_coarse_side(count, side, rng))
    inside = _draw_ink(forms, taken, side, rng, pixel=SIDE / coarse, tame=tame)
    bare = (rng.random(count) < NO_FORM) & ~tame
    inside[bare] = 0
    plain = tame | (rng.random(count) < PLAIN) & ~bare
    fill, ground = rng.integers(0, len(textures.KINDS), (2, count))
    fill[plain | bare | (rng.random(count) < 0.4)] = 0
    ground[plain | ~bare & (rng.random(count) < 0.5)] = 0
    ink, paper = _choose_colours(count, plain, rng)
    ink[tame], paper[tame] = 1, 0
    drawn = inside[..., None] * _paint(ink, fill, side, rng) + (1 - inside[..., None]) * _paint(
        paper, ground, side, rng
    )
    drawn = _shrink_and_enlarge(drawn, coarse, side)
    return Batch(
        pictures=_degrade(drawn, tame, rng),
        form=np.where(bare, len(forms.names), forms.label[taken]),
        fill=fill,
        ground=ground,
    )


def sheet(pictures: np.ndarray, *, columns: int) -> Image.Image:
    """Return pictures in rows of `columns`, without those that do not fill a row."""
    side = pictures.shape[1]
    rows = len(pictures) // columns
    grid = pictures[: rows * columns].reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    bytes_ = np.round((grid + 1) * 127.5).astype("uint8")
    return Image.fromarray(bytes_.reshape(rows * side, columns * side, 3))


def _choose_coarse_side(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return the size that each picture is drawn at before it is enlarged."""
    smaller = rng.choice([8, 10, 12, 16, 20, 24, 28], count)
    return np.where(rng.random(count) < COARSE, np.minimum(smaller, side), side)


def _draw_ink(
    forms: Forms,
    taken: np.ndarray,
    side: int,
    rng: np.random.Generator,
    *,
    pixel: np.ndarray,
    tame: np.ndarray,
) -> np.ndarray:
    """Return the ink of each pixel in 0..1: the forms rotated, warped, thicker or thinner."""
    row, column = _warp_grid(side, np.where(tame, 0.3, 1), rng)
    distance = _sample(forms.distance, taken, row, column) / STEPS
    wide = np.maximum(distance.max((1, 2)), 1)  # of the thickest stroke, from its middle
    shift = np.where(
        (rng.random(len(taken)) < 0.7) & ~tame,
        rng.uniform(-0.5, 1, len(taken)) * np.minimum(wide, 4),
        0,
    )
    hollow = (rng.random(len(taken)) < 0.08) & (wide > 3) & ~tame
    shifted = distance + shift[:, None, None]
    outline = rng.uniform(1, 2, len(taken))[:, None, None] - np.abs(shifted)
    shifted = np.where(hollow[:, None, None], outline, shifted)
    soft = np.maximum(pixel, 1) * rng.uniform(0.8, 2.2, len(taken))
    return np.clip(0.5 + shifted / soft[:, None, None], 0, 1).astype("float32")


def _warp_grid(
    side: int, much: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates that each pixel samples: a random affine map and a smooth warp."""
    count = len(much)
    turned = np.where(rng.random(count) < 0.9, rng.normal(0, 0.2, count), rng.normal(0, 0.7, count))
    turned = turned * much
    slant = rng.normal(0, 0.2, count) * much
    zoom = SIDE / INK * rng.uniform(0.62, 1.05, count)
    stretch = np.exp(rng.normal(0, 0.15, count) * much)
    cos, sin = np.cos(turned), np.sin(turned)
    grid = (np.arange(side) + 0.5) / side * SIDE - SIDE / 2
    down, right = grid[:, None], grid
    scale_y, scale_x = 1 / (zoom * stretch), stretch / zoom

    row = _as_3d(scale_y * cos) * down + _as_3d(scale_y * sin) * right
    column = (
        _as_3d(scale_x * (slant * cos - sin)) * down + _as_3d(scale_x * (cos + slant * sin)) * right
    )
    loose = _as_3d(np.abs(rng.normal(0, 1, count)) * much)
    for cells, reach in ((2, 7), (4, 4)):
        row += loose * reach * (textures.smooth(count, side, cells, rng) - 0.5)
        column += loose * reach * (textures.smooth(count, side, cells, rng) - 0.5)
    away = rng.normal(0, 3, (2, count)) * much
    middle = (SIDE - 1) / 2
    return row + _as_3d(away[0]) + middle, column + _as_3d(away[1]) + middle


def _as_3d(values: np.ndarray) -> np.ndarray:
    return values.astype("float32")[:, None, None]


def _as_4d(values: np.ndarray) -> np.ndarray:
    return values.astype("float32")[:, None, None, None]


def _sample(bank: np.ndarray, taken: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Sample drawings bilinearly; coordinates are clipped to their edges."""
    row, column = np.clip(row, 0, SIDE - 1.001), np.clip(column, 0, SIDE - 1.001)
    top, left = row.astype("int32"), column.astype("int32")
    down, right = row - top, column - left  # parts of a pixel
    flat = bank.reshape(-1)
    first = taken[:, None, None].astype("int64") * SIDE * SIDE + top * SIDE + left
    upper = flat[first] * (1 - right) + flat[first + 1] * right
    lower = flat[first + SIDE] * (1 - right) + flat[first + SIDE + 1] * right
    return upper * (1 - down) + lower * down


def _choose_colours(
    count: int, plain: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours for ink and two for paper, of shape (count, 2, 3) in 0..1."""
    paper = rng.random((count, 2, 3), "float32")
    ink = rng.random((count, 2, 3), "float32")
    grey = plain | (rng.random(count) < 0.3)
    paper[grey], ink[grey] = paper[grey][..., :1], ink[grey][..., :1]
    near = np.abs(paper - ink).mean((1, 2)) < 0.3
    ink[near] = (paper[near] + 0.5) % 1
    stark = plain & (rng.random(count) < 0.6)  # black and white, or nearly
    light = (rng.random((count, 1, 1)) < 0.65).astype("float32")
    off = rng.random((2, count, 1, 1), "float32") * 0.15
    ink[stark] = np.abs(light - off[0])[stark]
    paper[stark] = np.abs(1 - light - off[1])[stark]
    return ink, paper


def _paint(
    colours: np.ndarray, kind: np.ndarray, side: int, rng: np.random.Generator
) -> np.ndarray:
    """Mix the two colours by the textures."""
    mix = textures.make(kind, side, rng)[..., None]
    return colours[:, None, None, 0] * (1 - mix) + colours[:, None, None, 1] * mix


def _shrink_and_enlarge(pictures: np.ndarray, coarse: np.ndarray, side: int) -> np.ndarray:
    """Shrink each picture to its coarse size and enlarge it again, in place."""
    for size in np.unique(coarse[coarse < side]):
        chosen = np.flatnonzero(coarse == size)
        both = _enlarging_matrix(size, side) @ _averaging_matrix(side, size)
        pictures[chosen] = np.einsum(
            "yr,nrcd,xc->nyxd", both, pictures[chosen], both, optimize=True
        )
    return pictures


def _averaging_matrix(source: int, target: int) -> np.ndarray:
    """Return the matrix that averages `source` pixels to fewer, `target`."""
    edges = np.arange(target + 1) * source / target
    pixel = np.arange(source)
    covered = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    return (np.clip(covered, 0, None) * target / source).astype("float32")


def _enlarging_matrix(source: int, target: int) -> np.ndarray:
    """Return the matrix that enlarges `source` pixels to `target`, bilinearly."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    pixel = np.arange(source)
    return np.clip(1 - np.abs(place[:, None] - pixel), 0, 1).astype("float32")


def _degrade(pictures: np.ndarray, tame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur some pictures, change the contrast of some, add noise to some; return all in [-1, 1]."""
    count, side = pictures.shape[:2]
    blurred = np.where(
        (rng.random(count) < 0.3) & ~tame, rng.choice([0.4, 0.6, 0.8, 1.0, 1.2], count), 0
    )
    for width in np.unique(blurred[blurred > 0]):
        chosen = np.flatnonzero(blurred == width)
        apart = np.abs(np.arange(side)[:, None] - np.arange(side))
        blur = np.exp(-0.5 * (apart * 32 / side / width) ** 2).astype("float32")
        blur /= blur.sum(-1, keepdims=True)
        pictures[chosen] = np.einsum(
            "yr,nrcd,xc->nyxd", blur, pictures[chosen], blur, optimize=True
        )
    pictures = np.clip(pictures, 0, 1)
    dim = np.flatnonzero((rng.random(count) < 0.35) & ~tame)
    gamma, contrast, place = rng.uniform((0.5, 0.4, 0), (1.8, 1, 1), (len(dim), 3)).T
    contrast, place = _as_4d(contrast), _as_4d(place)
    pictures[dim] = pictures[dim] ** _as_4d(gamma) * contrast + place * (1 - contrast)
    rough = np.flatnonzero((rng.random(count) < 0.3) & ~tame)
    grain = rng.standard_normal((len(rough), *pictures.shape[1:]), "float32")
    pictures[rough] += _as_4d(rng.uniform(0, 0.12, len(rough))) * grain
    return np.clip(pictures, 0, 1) * 2 - 1
