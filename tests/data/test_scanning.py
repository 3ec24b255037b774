import threading
import time

import imagehash
import numpy as np
import pytest
from PIL import Image

from tlkit.data import scanning, threads


def _pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    ramp = np.arange(32, dtype="uint8")
    return [
        *random.integers(0, 256, (40, 32, 32), "uint8"),
        *random.integers(0, 256, (20, 4, 4), "uint8").repeat(8, 1).repeat(8, 2),
        np.zeros((32, 32), "uint8"),
        np.full((32, 32), 255, "uint8"),
        np.tile(ramp, (32, 1)),
        np.tile(ramp[:, None] * 8, (1, 32)),
    ]


@pytest.mark.parametrize("at_a_time", [1, 7, 1024])
def test_the_hash_of_many_pictures_is_that_of_imagehash(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_HASHED", at_a_time)
    expected = [int(str(imagehash.phash(Image.fromarray(each))), 16) for each in _pictures()]
    assert list(scanning.hash_pixels(_pictures())) == expected
    assert list(scanning.hash_pixels([])) == []


@pytest.mark.parametrize("shape", [(40, 30), (9, 9), (100, 80, 3)])
def test_arrays_have_the_hash_of_their_grey_pictures(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), "uint8")
    for image, scan in zip(images, scanning.scan_images(images, (0, 255)), strict=True):
        grey = image.astype("float32")
        grey = grey.mean(axis=-1) if image.ndim == 3 else grey
        picture = Image.fromarray(np.rint(grey).astype("uint8"))
        assert scan.perceptual_hash == int(str(imagehash.phash(picture)), 16)


@pytest.mark.parametrize(("seconds", "in_threads"), [(0.0, False), (0.002, True)])
@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_threads_read_what_takes_long(
    seconds: float, in_threads: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = set[str]()

    def read(number: int) -> int:
        time.sleep(seconds)
        used.add(threading.current_thread().name)
        return -number

    if not in_threads:
        monkeypatch.setattr(threads, "_MIN_SECONDS", 1.0)
    found = list(threads.map_in_groups(read, range(count)))
    assert found == [-number for number in range(count)]
    assert any(name.startswith("tlkit-read") for name in used) == (in_threads and count > 1)


def test_an_error_of_a_thread_is_raised() -> None:
    def read(number: int) -> int:
        time.sleep(0.002)
        return 1 // (50 - number)

    with pytest.raises(ZeroDivisionError):
        list(threads.map_in_groups(read, range(100)))
