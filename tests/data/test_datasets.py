from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.data import dataset_names, datasets
from tlkit.errors import ConfigError, DataError, DownloadError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype="uint8")
LABELS = np.array([0, 1, 2, 0, 1, 2])


def mnist_file(folder: Path, **changed: np.ndarray) -> Path:
    arrays: dict[str, Any] = {
        "x_train": IMAGES,
        "y_train": LABELS.astype("uint8"),
        "x_test": IMAGES[:2],
        "y_test": LABELS[:2].astype("uint8"),
    }
    path = folder / "small.npz"
    np.savez(path, **{**arrays, **changed})
    return path


def test_mnist_reads_a_file_that_it_is_given(tmp_path: Path) -> None:
    path = mnist_file(tmp_path)
    for given_path in (path, str(path)):
        loaded = datasets.mnist(given_path)
        assert loaded.train.name == "small"
        assert loaded.train.class_names == ("0", "1", "2")
        assert loaded.train.value_range == (0, 255)
        np.testing.assert_array_equal(loaded.train.images, IMAGES)
        np.testing.assert_array_equal(loaded.train.labels, LABELS)
        np.testing.assert_array_equal(loaded.test.images, IMAGES[:2])
        np.testing.assert_array_equal(loaded.test.labels, LABELS[:2])


def test_mnist_refuses_a_missing_file_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be an \.npz file, got '.*/no\.npz': no such file"):
        datasets.mnist(tmp_path / "no.npz")
    with pytest.raises(DataError, match="no such file"):
        datasets.mnist(tmp_path)


def test_mnist_refuses_a_file_with_other_arrays(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS)
    with pytest.raises(DataError, match=r"with the arrays \['x_train', .*x_test"):
        datasets.mnist(path)


def written_as_npz(folder: Path, content: str) -> Path:
    """A file called .npz that is none."""
    path = mnist_file(folder)
    if content == "text":
        path.write_text("label,pixel0\n5,0\n")
    elif content == "half of an npz":
        path.write_bytes(path.read_bytes()[:300])
    elif content == "nothing":
        path.write_bytes(b"")
    elif content == "pickled objects":
        path = mnist_file(folder, x_train=np.array([{}], dtype=object))
    else:
        np.save(folder / "one.npy", IMAGES)
        (folder / "one.npy").replace(path)
    return path


@pytest.mark.parametrize(
    "content", ["text", "half of an npz", "nothing", "pickled objects", "a single array"]
)
def test_mnist_refuses_a_file_that_is_only_called_npz(tmp_path: Path, content: str) -> None:
    path = written_as_npz(tmp_path, content)
    with pytest.raises(DataError, match=r"small\.npz' must be an \.npz file with the arrays"):
        datasets.mnist(path)


def test_digits_are_split_once_without_overlap() -> None:
    from sklearn.datasets import load_digits

    first, again = datasets.digits(), datasets.digits()
    np.testing.assert_array_equal(first.train.images, again.train.images)
    images = np.concatenate([first.train.images, first.test.images])
    labels = np.concatenate([first.train.labels, first.test.labels])
    assert [len(part) for part in (first.train, first.validation, first.test)] == [1000, 0, 797]
    bundled = load_digits()
    together = sorted(zip(images.reshape(1797, -1).tolist(), labels.tolist(), strict=True))
    whole = sorted(zip(bundled.data.tolist(), bundled.target.tolist(), strict=True))
    assert together == whole


def test_digits_hold_every_class_in_proportion() -> None:
    loaded = datasets.digits()
    everything = np.concatenate([loaded.train.labels, loaded.test.labels])
    for part in (loaded.train, loaded.test):
        expected = np.bincount(everything) * len(part) / len(everything)
        assert (np.abs(np.bincount(part.labels) - expected) <= 1).all()
    assert loaded.train.class_names == tuple("0123456789")
    assert (
        loaded.train.value_range
        == (loaded.train.images.min(), loaded.train.images.max())
        == (0, 16)
    )


def test_a_limited_set_has_the_first_images_and_the_whole_test(tmp_path: Path) -> None:
    whole = datasets.mnist(mnist_file(tmp_path))
    limited = whole.limited(4)
    np.testing.assert_array_equal(limited.train.images, IMAGES[:4])
    np.testing.assert_array_equal(limited.train.labels, LABELS[:4])
    assert len(whole.train) == 6
    assert limited.test is whole.test
    assert limited.train.class_names == whole.train.class_names
    assert len(whole.limited(99).train) == 6


@pytest.mark.parametrize("count", [0, -3, 2.5, True])
def test_a_bad_limit_is_refused(tmp_path: Path, count: Any) -> None:
    with pytest.raises(ConfigError, match="`count` must be a whole number"):
        datasets.mnist(mnist_file(tmp_path)).limited(count)


@pytest.mark.parametrize(
    ("name", "shape", "label_shape", "named"),
    [
        ("mnist", (28, 28), (), "7"),
        ("fashion_mnist", (28, 28), (), "sneaker"),
        ("cifar10", (32, 32, 3), (1,), "horse"),
    ],
)
def test_a_set_is_loaded_by_its_name(
    name: str,
    shape: tuple[int, ...],
    label_shape: tuple[int, ...],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.arange(20, dtype="uint8").reshape(-1, *label_shape) % 10

    def load_data() -> Any:
        images = np.zeros((20, *shape), "uint8")
        return (images, labels), (images[:10], labels[:10])

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", load_data)
    loaded = datasets.get(name)
    assert loaded.train.images.shape == (20, *shape)
    assert loaded.train.labels.tolist() == [*range(10), *range(10)]
    assert loaded.train.class_names[7] == named
    assert loaded.test.class_names == loaded.train.class_names
    assert (len(loaded.test), loaded.train.name) == (10, name)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mnist'"):
        datasets.get("minst")


@pytest.mark.parametrize(("name", "named"), [("fashion_mnist", "pullover"), ("cifar10", "bird")])
def test_a_set_is_read_from_a_file_with_its_own_class_names(
    name: str, named: str, tmp_path: Path
) -> None:
    loaded = getattr(datasets, name)(mnist_file(tmp_path))
    assert (loaded.train.name, loaded.train.class_names[2]) == ("small", named)
    np.testing.assert_array_equal(loaded.test.images, IMAGES[:2])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "put mnist.npz where Keras looks, into '{}/datasets'"),
        (
            "fashion_mnist",
            "labels-idx1-ubyte.gz where Keras looks, into '{}/datasets/fashion-mnist'",
        ),
        ("cifar10", "(renamed to cifar-10-batches-py-target_archive) where Keras looks, into '{}/"),
    ],
)
def test_without_a_network_a_set_says_which_file_to_put_where(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("tlkit.data.datasets.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr("tlkit._internal.downloads.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr("pooch.retrieve", refuse)
    with pytest.raises(DownloadError) as caught:
        getattr(datasets, name)()
    assert f"{name}('path/to/{name}.npz')" in str(caught.value)
    assert place.format(tmp_path) in str(caught.value)


def test_the_names_that_are_known_without_keras_are_those_of_the_functions() -> None:
    assert tuple(datasets._NAMED) == dataset_names.NAMES
