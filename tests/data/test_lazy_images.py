import numpy as np
import pytest

from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError


def _counting(read: list[int]) -> LazyImages:
    def one(place: int) -> np.ndarray:
        read.append(place)
        return np.full((2, 3), place, "uint8")

    return LazyImages(one, [5, 7, 9, 11, 13], shape=(2, 3))


def test_only_what_is_asked_for_is_read() -> None:
    read: list[int] = []
    images = _counting(read)
    assert (images.shape, images.ndim, images.size, len(images)) == ((5, 2, 3), 3, 30, 5)
    assert images.take([0, 4]).take(slice(1, None)).shape == (1, 2, 3)
    assert read == []
    assert images[3][0, 0] == 11
    assert images[1:3][:, 0, 0].tolist() == [7, 9]
    assert sorted(read) == [7, 9, 11]


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        (slice(None, None, -1), [13, 11, 9, 7, 5]),
        (np.array([4, 0, 4, 1, 2]), [13, 5, 13, 7, 9]),
        (np.array([True, False, False, False, True]), [5, 13]),
        (slice(3, 3), []),
        (-1, 13),
    ],
)
def test_it_is_indexed_as_an_array_is(index: object, wanted: object) -> None:
    assert _counting([])[index][..., 0, 0].tolist() == wanted
    if not isinstance(index, int):
        assert _counting([]).take(index)[:][..., 0, 0].tolist() == wanted


def test_it_never_becomes_one_array_by_accident() -> None:
    with pytest.raises(TypeError, match="would take 30 bytes as one array. Index some"):
        np.asarray(_counting([]))


def test_an_image_of_another_shape_is_refused() -> None:
    images = LazyImages(lambda place: np.zeros((place, 2), "uint8"), range(1, 4), shape=(1, 2))
    with pytest.raises(DataError, match=r"Image 2 must have the shape \(1, 2\) .*, got \(2, 2\)"):
        images[1]
