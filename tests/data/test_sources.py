from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Phase, SolvedHead, freezing, sources, train_phase
from tlkit.data import decoding, unlabelled
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError

DATA = make_noise(40)


def _lazy(images: np.ndarray) -> LazyImages:
    return LazyImages(lambda place: images[place], range(len(images)), shape=images.shape[1:])


@pytest.mark.parametrize(
    "settings",
    [
        {"cache": tlkit.Cache()},
        {"cache": None},
        {"cache": None, "augmentation": (keras.layers.RandomFlip(seed=1),)},
        {"cache": tlkit.Cache(), "solver": "ridge"},
        {"cache": None, "solver": "ridge"},
    ],
)
def test_images_read_when_needed_train_to_the_same_as_arrays(
    small_backbone: keras.Model, settings: dict
) -> None:
    images, labels = DATA
    start = small_backbone.get_weights()
    losses = []
    cache, rest = settings["cache"], {k: v for k, v in settings.items() if k != "cache"}
    for given in (images, _lazy(images)):
        small_backbone.set_weights(start)
        for layer in rest.get("augmentation", ()):
            layer.generator.state.assign(keras.ops.zeros_like(layer.generator.state))
        model = small_classifier(small_backbone)
        phase = SolvedHead(**rest) if "solver" in rest else Phase(freeze=freezing.first(3), **rest)
        pair = (given, labels)
        run = train_phase(
            model, phase, pair, validation_data=pair, cache=cache, seed=0, verbose=False
        )
        losses.append([run.history[key][-1] for key in ("loss", "val_loss")])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_images_read_when_needed_are_probed_and_measured(small_backbone: keras.Model) -> None:
    images, labels = make_noise(60)
    model = small_classifier(small_backbone)
    found = [tlkit.probe(model, (each, labels)).layers for each in (images, _lazy(images))]
    assert found[0] == found[1]
    rates = [
        tlkit.training.find_learning_rate(model, Phase(), (each, labels), steps=5, seed=0).losses
        for each in (images, _lazy(images))
    ]
    np.testing.assert_allclose(*rates, rtol=1e-4)


def test_arrays_become_a_source() -> None:
    images, labels = DATA
    source = sources.from_arrays(images, labels, class_names="abc", groups=["p"] * 40)
    assert source.images is images
    assert source.counts == {"a": 14, "b": 13, "c": 13}
    few = source.take(slice(0, 3))
    assert (len(few), few.labels.tolist(), few.groups) == (3, [0, 1, 2], ("p",) * 3)
    assert "40 images of 9 x 9 x 1, in memory" in str(source)
    with pytest.raises(DataError, match="must be one for each of the 40 images, got 39 and 0"):
        sources.from_arrays(images, labels[1:], class_names="abc")
    with pytest.raises(DataError, match=r"from 0 to 1, one of `class_names`, got \[0, 1, 2\]"):
        sources.from_arrays(images, labels, class_names="ab")


def _rows(labels: list, *, names: list[str] | None = None) -> Any:
    datasets = pytest.importorskip("datasets")
    images = [Image.new("L", (5, 7), 40 * place) for place in range(len(labels))]
    made = datasets.Dataset.from_dict({"picture": images, "answer": labels})
    made = made.cast_column("picture", datasets.Image())
    return made if names is None else made.cast_column("answer", datasets.ClassLabel(names=names))


def test_a_hugging_face_data_set_is_decoded_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows([1, 0, 1], names=["yes", "no"])
    asked = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *a, **k: asked.append(1) or decode(*a, **k))
    source = sources.from_huggingface(rows, image_size=4, image="picture", label="answer")
    assert source.class_names == ("yes", "no")
    assert source.labels.tolist() == [1, 0, 1]
    assert asked == []
    assert source.images[2][0, 0].tolist() == [80, 80, 80]
    assert asked == [1]
    parts = source.take([2, 0])
    assert parts.images[0][0, 0].tolist() == [80, 80, 80]


def test_labels_without_names_are_named_by_their_value() -> None:
    source = sources.from_huggingface(
        _rows(["ash", "oak", "ash"]), image_size=4, image="picture", label="answer"
    )
    assert source.class_names == ("ash", "oak")
    assert source.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "names"), [([0, None, 1], ["a", "b"]), (["a", None], None), ([0, -1, 1], ["a", "b"])]
)
def test_an_image_without_a_label_is_refused(labels: list, names: list[str] | None) -> None:
    rows = _rows(labels, names=names)
    with pytest.raises(DataError, match=r"One problem found: row 1: it has no label"):
        sources.from_huggingface(rows, image_size=4, image="picture", label="answer")


def test_what_is_no_split_of_a_data_set_is_refused() -> None:
    datasets = pytest.importorskip("datasets")
    rows = _rows([0, 1])
    with pytest.raises(ConfigError, match=r"a column 'image', got \['picture', 'answer'\]"):
        sources.from_huggingface(rows, image_size=4, label="answer")
    with pytest.raises(ConfigError, match=r"such as dataset\['other'\]"):
        sources.from_huggingface(datasets.DatasetDict(other=rows), image_size=4)
    with pytest.raises(ConfigError, match="streaming=False"):
        sources.from_huggingface(rows.to_iterable_dataset(), image_size=4)


def test_a_torch_loader_gives_channels_last(small_backbone: keras.Model) -> None:
    images, labels = DATA

    class Loader:
        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, 40, 8):
                yield np.moveaxis(images[start : start + 8], -1, 1), labels[start : start + 8]

    model = small_classifier(small_backbone)
    batches = sources.from_loader(Loader())
    assert len(batches) == 5
    score = tlkit.evaluate(model, batches)
    assert score.loss == pytest.approx(tlkit.evaluate(model, (images, labels)).loss, rel=1e-5)


def test_images_read_when_needed_are_called_the_same_a_few_at_a_time(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = make_noise(50)
    model = small_classifier(small_backbone)
    monkeypatch.setattr(unlabelled, "_MAX_BYTES", 1)
    few = tlkit.predict(model, _lazy(images), batch_size=16)
    np.testing.assert_allclose(few, tlkit.predict(model, images), atol=1e-6)


def test_labels_are_not_rounded_and_groups_may_be_an_array() -> None:
    images, labels = make_noise(6)
    with pytest.raises(DataError, match="`labels` must be whole numbers, got float64"):
        sources.from_arrays(images, labels + 0.2, class_names=["a", "b", "c"])
    made = sources.from_arrays(
        images, labels, class_names=["a", "b", "c"], groups=np.array(list("uuvvww"))
    )
    assert made.groups == tuple("uuvvww")


def test_a_source_is_measured_by_the_names_of_its_classes(small_backbone: keras.Model) -> None:
    images, labels = DATA
    model = tlkit.build_classifier(
        small_backbone,
        4,
        input_shape=(9, 9, 1),
        pixels=(0, 1),
        seed=0,
        class_names=["c", "x", "b", "a"],
    )
    source = sources.from_arrays(images, labels, class_names=["a", "b", "c"])
    ordered = np.array([3, 2, 0])[labels]
    found = tlkit.evaluate(model, source)
    np.testing.assert_array_equal(found.labels, ordered)
    assert found.loss == tlkit.evaluate(model, (images, ordered)).loss
    runs = [
        train_phase(model, SolvedHead(solver="ridge"), each, seed=0, verbose=False).history
        for each in (source, (images, ordered))
    ]
    assert runs[0] == runs[1]
    with pytest.raises(DataError, match="must have classes that the classifier knows"):
        tlkit.evaluate(model, sources.from_arrays(images, labels, class_names="abz"))
