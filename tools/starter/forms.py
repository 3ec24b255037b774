"""The forms the starter learns to tell apart: glyphs of many scripts, and drawn shapes.

Each form is kept as a signed distance: how far a point is inside (+) or outside (-) its edge. From
that its stroke can be drawn thick, thin, soft or hollow later, at any size.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from tools.starter import characters, shapes

SIDE = 64  # of a form, in pixels
INK = 52  # the longer side of what is drawn in it
STEPS = 6  # of distance, in a pixel
LEAST_FONTS = 12  # a character fewer fonts can draw is left out


@dataclass(frozen=True, kw_only=True)
class Forms:
    """Every drawing of every form.

    Attributes:
        distance: One a drawing, int8 of shape (drawings, SIDE, SIDE), in 1/STEPS of a pixel.
        label: The form each drawing shows.
        names: What each form is called.
        fonts: The font files that drew them.
    """

    distance: np.ndarray
    label: np.ndarray
    names: tuple[str, ...]
    fonts: tuple[str, ...]


def make(font_folder: Path, *, seed: int) -> Forms:
    """Draw every form: glyphs by all fonts below a folder, and shapes."""
    fonts = sorted(
        path for path in font_folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf", ".ttc")
    )
    rng = np.random.default_rng(seed)
    jobs = _assigned(fonts, rng)
    spawn = multiprocessing.get_context("spawn")  # TensorFlow's threads don't survive a fork
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        drawn = list(pool.map(_glyphs, jobs.keys(), jobs.values(), chunksize=8))
    pairs = [pair for one in drawn for pair in one]
    for name, canvas in shapes.draw(rng):
        mask = _fitted(canvas)
        if mask is not None:
            pairs.append((name, _distance(mask)))
    names = tuple(sorted({name for name, _ in pairs}))
    index = {name: number for number, name in enumerate(names)}
    return Forms(
        distance=np.stack([distance for _, distance in pairs]),
        label=np.array([index[name] for name, _ in pairs], "int32"),
        names=names,
        fonts=tuple(path.name for path, one in zip(jobs, drawn, strict=True) if one),
    )


def _assigned(fonts: list[Path], rng: np.random.Generator) -> dict[Path, str]:
    """Say which characters each font is to draw."""
    caps = characters.wanted()
    able: dict[str, list[Path]] = {character: [] for character in caps}
    for path in fonts:
        for character in caps.keys() & _covered(path):
            able[character].append(path)
    jobs: dict[Path, str] = {}
    for character, paths in able.items():
        if len(paths) >= LEAST_FONTS:
            chosen = rng.permutation(len(paths))[: caps[character]]
            for number in chosen:
                jobs[paths[number]] = jobs.get(paths[number], "") + character
    return jobs


def _covered(path: Path) -> set[str]:
    try:
        font = TTCollection(path).fonts[0] if path.suffix.lower() == ".ttc" else TTFont(path)
        return {chr(code) for code in font.getBestCmap() or ()}
    except Exception as error:  # a damaged font may raise anything; there are a thousand others
        print(f"left out {path.name}: {error}")
        return set()


def _glyphs(path: Path, letters: str) -> list[tuple[str, np.ndarray]]:
    """Draw characters by one font; those that come out empty are left out."""
    try:
        font = ImageFont.truetype(path, size=80)
    except OSError:  # a format that FreeType can't scale
        return []
    drawn = []
    for character in letters:
        canvas = Image.new("L", (240, 240))
        try:
            ImageDraw.Draw(canvas).text((80, 80), character, fill=255, font=font, anchor="lt")
        except (OSError, ValueError):
            continue
        mask = _fitted(canvas)
        if mask is not None:
            drawn.append((characters.LOOK_ALIKE.get(character, character), _distance(mask)))
    return drawn


def _fitted(canvas: Image.Image) -> np.ndarray | None:
    """Cut out what was drawn and set it into the middle, its longer side INK pixels."""
    box = canvas.getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 4:
        return None
    ink = canvas.crop(box)
    scale = INK / max(ink.size)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))))
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    return np.asarray(mask) > 127


def _distance(mask: np.ndarray) -> np.ndarray:
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return np.clip(np.round((distance - np.sign(distance) / 2) * STEPS), -127, 127).astype("int8")
