"""Drawn shapes: polygons, stars, everyday outlines, and random mirror-symmetric silhouettes."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw

COPIES = 90  # of each shape
SILHOUETTES = 64

Polygon = list[tuple[float, float]]
Outline = Callable[[np.random.Generator], Polygon]


def draw(rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Draw every shape COPIES times with small random variations."""
    for name, outline in _outlines(rng).items():
        for _ in range(COPIES):
            canvas = Image.new("L", (240, 240))
            points = [(120 + 100 * x, 120 + 100 * y) for x, y in outline(rng)]
            ImageDraw.Draw(canvas).polygon(points, fill=255)
            yield name, canvas


def _outlines(rng: np.random.Generator) -> dict[str, Outline]:
    found: dict[str, Outline] = {}
    for corners in (3, 4, 5, 6, 8):
        found[f"polygon {corners}"] = lambda rng, n=corners: _star(n, 1, rng)
    for points in (3, 4, 5, 6, 8, 12):
        found[f"star {points}"] = lambda rng, n=points: _star(n, rng.uniform(0.35, 0.6), rng)
    found.update(_OUTLINES)
    for number in range(SILHOUETTES):
        profile = rng.uniform(0.15, 1, 7)
        found[f"silhouette {number}"] = lambda rng, p=profile: _mirror(p, rng)
    return found


def _star(points: int, inner: float, rng: np.random.Generator) -> Polygon:
    turn = rng.uniform(0, math.tau)
    radii = [1.0] * points if inner == 1 else [1.0, inner] * points
    angles = [turn + math.tau * number / len(radii) for number in range(len(radii))]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _curve(radius: Callable[[float], float], start: float = 0, stop: float = math.tau) -> Polygon:
    angles = np.linspace(start, stop, 90)
    return [(radius(a) * math.cos(a), radius(a) * math.sin(a)) for a in angles]


def _scale(points: Polygon, y: float) -> Polygon:
    return [(px, py * y) for px, py in points]


def _mirror(profile: np.ndarray, rng: np.random.Generator) -> Polygon:
    """Return a mirror-symmetric outline from its half width at seven heights."""
    widths = profile + rng.normal(0, 0.05, len(profile))
    heights = np.linspace(-1, 1, len(profile)) * rng.uniform(0.8, 1.2)
    right = [(float(w), float(h)) for w, h in zip(widths, heights, strict=True)]
    return right + [(-w, h) for w, h in reversed(right)]


def _blocks(*corners: tuple[float, float]) -> Outline:
    def outline(rng: np.random.Generator) -> Polygon:
        return [(x + rng.normal(0, 0.05), y + rng.normal(0, 0.05)) for x, y in corners]

    return outline


_OUTLINES: dict[str, Outline] = {
    "ellipse": lambda rng: _scale(_curve(lambda _: 1), rng.uniform(0.4, 1)),
    "sector": lambda rng: [(0, 0), *_curve(lambda _: 1, 0.6, 5.7 + rng.uniform(-0.3, 0.3))],
    "half disc": lambda rng: _curve(lambda _: 1, 0, math.pi + rng.uniform(-0.2, 0.2)),
    "crescent": lambda rng: [
        *_curve(lambda _: 1, 0.7, 5.6),
        *[(x * 0.7 + 0.35, y * 0.8) for x, y in reversed(_curve(lambda _: 1, 0.9, 5.4))],
    ],
    "heart": lambda rng: [
        (
            16 * math.sin(t) ** 3 / 16,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)) / 16,
        )
        for t in np.linspace(0, math.tau, 90)
    ],
    "flower 3": lambda rng: _scale(
        _curve(lambda a: 0.6 + 0.4 * math.cos(3 * a)), rng.uniform(0.8, 1)
    ),
    "flower 5": lambda rng: _scale(
        _curve(lambda a: 0.65 + 0.35 * math.cos(5 * a)), rng.uniform(0.8, 1)
    ),
    "drop": lambda rng: _scale(
        _curve(lambda a: 0.4 + 0.6 * max(0.0, math.cos(a)) ** 3), rng.uniform(0.8, 1.2)
    ),
    "cross": _blocks(
        (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3),
        (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3),
    ),
    "arrow": _blocks(
        (-1, -0.3), (0.2, -0.3), (0.2, -0.8), (1, 0), (0.2, 0.8), (0.2, 0.3),
        (-1, 0.3),
    ),
    "block L": _blocks(
        (-0.8, -1), (-0.2, -1), (-0.2, 0.4), (0.8, 0.4), (0.8, 1), (-0.8, 1),
    ),
    "block U": _blocks(
        (-1, -1), (-0.4, -1), (-0.4, 0.4), (0.4, 0.4), (0.4, -1), (1, -1),
        (1, 1), (-1, 1),
    ),
    "block T": _blocks(
        (-1, -1), (1, -1), (1, -0.4), (0.3, -0.4), (0.3, 1), (-0.3, 1),
        (-0.3, -0.4), (-1, -0.4),
    ),
    "block Z": _blocks(
        (-1, -1), (1, -1), (1, -0.5), (-0.2, 0.5), (1, 0.5), (1, 1),
        (-1, 1), (-1, 0.5), (0.2, -0.5), (-1, -0.5),
    ),
    "trapezoid": _blocks(
        (-0.5, -0.7), (0.5, -0.7), (1, 0.7), (-1, 0.7),
    ),
    "parallelogram": _blocks(
        (-0.4, -0.6), (1, -0.6), (0.4, 0.6), (-1, 0.6),
    ),
    "house": _blocks(
        (0, -1), (0.9, -0.2), (0.7, -0.2), (0.7, 0.9), (-0.7, 0.9), (-0.7, -0.2),
        (-0.9, -0.2),
    ),
    "bolt": _blocks(
        (0.2, -1), (-0.6, 0.2), (-0.05, 0.15), (-0.3, 1), (0.6, -0.25), (0.05, -0.2),
    ),
}  # fmt: skip
