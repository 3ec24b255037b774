import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit._internal import system
from tlkit.data import decoding, memory_limits


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo of 100 x 80 pixels, which are many here."""
    monkeypatch.setattr(memory_limits, "_LARGE", 8000)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_photo_too_large_for_memory_is_refused_by_its_header(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr(system, "free_memory", lambda: 95_999)
    with pytest.raises(decoding.UnreadableImageError) as info:
        decoding.decode_fully(photo, (8, 8))
    assert info.value.reason == (
        "its 100 x 80 pixels take 96.0 kB to decode, and 96.0 kB of memory are free"
    )


def test_a_photo_that_fits_is_decoded(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "free_memory", lambda: 96_000)
    assert decoding.decode_fully(photo, (8, 8)).pixels.shape == (8, 8, 3)


def test_large_photos_are_decoded_one_at_a_time(photo: Path) -> None:
    inside, most = [], []

    def decode() -> None:
        with memory_limits.take_turn((100, 80)):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_a_decoder_without_memory_names_the_file(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", fails)
    with pytest.raises(decoding.UnreadableImageError, match="photo.png.*MemoryError"):
        decoding.decode_fully(photo, (8, 8))
