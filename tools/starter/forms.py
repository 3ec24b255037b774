"""The forms that the starter learns to distinguish: glyphs of many scripts, and drawn shapes.

A form is stored as its signed distance: how far each point is inside (+) or outside (-) its edge.
From it, strokes of any size can be drawn thick, thin, soft or hollow.
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

SIDE = 64  # height and width of a form in pixels
INK = 52  # longer side of the drawing within it
STEPS = 6  # steps of distance in a pixel
MIN_FONTS = 12  # characters that fewer fonts have are left out


@dataclass(frozen=True, kw_only=True)
class Forms:
    """Every drawing of every form.

    Attributes:
        distance: Signed distances in 1/STEPS of a pixel, int8 of shape (drawings, SIDE, SIDE).
        label: The index of each drawing's form.
        names: The name of each form.
        fonts: The font files that the drawings are from.
    """

    distance: np.ndarray
    label: np.ndarray
    names: tuple[str, ...]
    fonts: tuple[str, ...]


def make(font_folder: Path, *, seed: int) -> Forms:
    """Draw all forms: glyphs of all fonts in a folder, and shapes."""
    fonts = sorted(
        path for path in font_folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf", ".ttc")
    )
    rng = np.random.default_rng(seed)
    jobs = _assign_characters(fonts, rng)
    spawn = multiprocessing.get_context("spawn")  # TensorFlow's threads don't survive a fork
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        drawn = list(pool.map(_draw_glyphs, jobs.keys(), jobs.values(), chunksize=8))
    pairs = [pair for one in drawn for pair in one]
    for name, canvas in shapes.draw(rng):
        mask = _fit(canvas)
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


def _assign_characters(fonts: list[Path], rng: np.random.Generator) -> dict[Path, str]:
    """Return the characters that each font draws."""
    caps = characters.fonts_per_character()
    fonts_with: dict[str, list[Path]] = {character: [] for character in caps}
    for path in fonts:
        for character in caps.keys() & _list_characters(path):
            fonts_with[character].append(path)
    jobs: dict[Path, str] = {}
    for character, paths in fonts_with.items():
        if len(paths) >= MIN_FONTS:
            chosen = rng.permutation(len(paths))[: caps[character]]
            for number in chosen:
                jobs[paths[number]] = jobs.get(paths[number], "") + character
    return jobs


def _list_characters(path: Path) -> set[str]:
    try:
        font = TTCollection(path).fonts[0] if path.suffix.lower() == ".ttc" else TTFont(path)
        return {chr(code) for code in font.getBestCmap() or ()}
    except Exception as error:  # a damaged font may raise anything; there are a thousand others
        print(f"skipped {path.name}: {error}")
        return set()


def _draw_glyphs(path: Path, letters: str) -> list[tuple[str, np.ndarray]]:
    """Draw characters in one font, without those that turn out empty."""
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
        mask = _fit(canvas)
        if mask is not None:
            drawn.append((characters.LOOK_ALIKE.get(character, character), _distance(mask)))
    return drawn


def _fit(canvas: Image.Image) -> np.ndarray | None:
    """Crop the drawing, resize its longer side to INK pixels, and center it."""
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
