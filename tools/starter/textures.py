"""Procedural textures: values in 0..1 that mix two colours."""

import numpy as np

KINDS = (
    "flat",
    "gradient",
    "stripes",
    "checks",
    "dots",
    "rings",
    "weave",
    "waves",
    "clouds",
    "grain",
    "cells",
)


def make(kind: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return float32 textures of shape (count, side, side), by indices into KINDS."""
    textures = np.zeros((len(kind), side, side), "float32")
    for number in np.unique(kind[kind > 0]):
        chosen = np.flatnonzero(kind == number)
        textures[chosen] = _MAKERS[KINDS[number]](len(chosen), side, rng)
    return textures


def smooth(count: int, side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise in 0..1 that changes over a `cells`-th of a side, (count, side, side)."""
    knots = rng.random((count, cells + 1, cells + 1), "float32")
    spread = _interpolating_matrix(side, cells)
    return spread @ knots @ spread.T


def _interpolating_matrix(side: int, cells: int) -> np.ndarray:
    """Return the matrix that interpolates `cells` + 1 knots to `side` points, smoothly."""
    place = np.linspace(0, cells, side)
    left = np.minimum(place.astype(int), cells - 1)
    part = place - left
    part = part * part * (3 - 2 * part)
    matrix = np.zeros((side, cells + 1), "float32")
    matrix[np.arange(side), left] = 1 - part
    matrix[np.arange(side), left + 1] = part
    return matrix


def _turn(
    count: int,
    side: int,
    rng: np.random.Generator,
    *,
    min_periods: float = 1.5,
    max_periods: float = 7,
) -> tuple[np.ndarray, np.ndarray]:
    """Return two orthogonal coordinates, rotated, shifted, over a random number of periods."""
    grid = np.linspace(-0.5, 0.5, side, dtype="float32")
    angle = rng.uniform(0, np.pi, (count, 1, 1)).astype("float32")
    periods = rng.uniform(min_periods, max_periods, (count, 1, 1)).astype("float32")
    u = (np.cos(angle) * grid + np.sin(angle) * grid[:, None]) * periods
    v = (np.cos(angle) * grid[:, None] - np.sin(angle) * grid) * periods
    shift = rng.random((2, count, 1, 1), "float32")
    return u + shift[0], v + shift[1]


def _sharpen(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return waves in -1..1 with random steepness, as values in 0..1."""
    steepness = rng.uniform(0.5, 4, (len(wave), 1, 1)).astype("float32")
    return np.clip(0.5 + wave * steepness / 2, 0, 1)


def _sine(value: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * value)


def _gradient(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, _ = _turn(count, side, rng, min_periods=0.7, max_periods=1.4)
    return np.clip(u - u.mean((1, 2), keepdims=True) + 0.5, 0, 1)


def _stripes(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, _ = _turn(count, side, rng)
    return _sharpen(_sine(u) + rng.uniform(-0.6, 0.6, (count, 1, 1)), rng)


def _checks(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _turn(count, side, rng, max_periods=5)
    return _sharpen(2 * _sine(u) * _sine(v), rng)


def _dots(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _turn(count, side, rng, min_periods=2)
    apart = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    return np.clip((rng.uniform(0.2, 0.4, (count, 1, 1)) - apart) * side / 5 + 0.5, 0, 1)


def _rings(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _turn(count, side, rng, min_periods=1, max_periods=4)
    return _sharpen(_sine(np.hypot(u - 0.5, v - 0.5) * 1.5), rng)


def _weave(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _turn(count, side, rng)
    return (_sharpen(_sine(u), rng) + _sharpen(_sine(v), rng)) / 2


def _waves(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _turn(count, side, rng)
    return _sharpen(_sine(u + rng.uniform(0.15, 0.4, (count, 1, 1)) * _sine(v)), rng)


def _clouds(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    return (2 * smooth(count, side, 3, rng) + smooth(count, side, 7, rng)) / 3


def _grain(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    return smooth(count, side, side // 2, rng)


def _cells(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    grid = np.linspace(0, 1, side, dtype="float32")
    points = rng.uniform(-0.1, 1.1, (2, count, 9, 1, 1)).astype("float32")
    apart = np.sort(np.hypot(points[0] - grid, points[1] - grid[:, None]), axis=1)
    return np.clip((apart[:, 1] - apart[:, 0]) * 8, 0, 1)


_MAKERS = {
    "gradient": _gradient,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "rings": _rings,
    "weave": _weave,
    "waves": _waves,
    "clouds": _clouds,
    "grain": _grain,
    "cells": _cells,
}
