from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.models import backbones

TINY = {"alpha": 0.35}


@pytest.fixture
def channels_first() -> Iterator[None]:
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def test_names_are_sorted_and_each_finds_its_own_spec() -> None:
    names = backbones.names()
    assert list(names) == sorted(set(names))
    assert [backbones.get(name).name for name in names] == list(names)
    assert "mobilenet_v2" in names


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("mobilenetv2", "'mobilenet_v2'"),
        ("resnet_50", "'resnet50'"),
        ("EfficientNetB0".lower(), "'efficientnet_b0'"),
        ("xeption", "'xception'"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, offer: str) -> None:
    for search in (backbones.get, backbones.create):
        with pytest.raises(ConfigError) as caught:
            search(name)
        assert f"must be a keras.Model or a known name, got {name!r}. Did you mean" in str(
            caught.value
        )
        assert offer in str(caught.value)


@pytest.mark.parametrize("name", ["zzz", ""])
def test_a_name_similar_to_none_is_refused_with_the_function_that_lists_them(name: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"tlkit\.models\.backbones\.names\(\) lists all"
    ) as caught:
        backbones.get(name)
    assert "Did you mean" not in str(caught.value)
    assert f"all {len(backbones.names())}." in str(caught.value)


class AskedForError(Exception):
    """Carries the name of the weights file that Keras asked for."""


@pytest.mark.parametrize(
    "size", [(32, 32), (96, 96), (128, 128), (160, 160), (192, 192), (224, 224), (96, 128)]
)
@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2"])
def test_weights_for_a_size_are_those_that_keras_asks_for(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(filename: str, *args: object, **kwargs: object) -> str:
        raise AskedForError(filename)

    monkeypatch.setattr("tlkit._internal.downloads.get_file", tell)
    with pytest.raises(AskedForError) as caught:
        backbones.create(name, image_size=size)
    sizes = [
        part for part in str(caught.value).split("_") if part in ("96", "128", "160", "192", "224")
    ]
    assert sizes == [str(backbones.get(name).weights_for(size))]


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet50", (32, 32), 224),
        ("efficientnet_b1", (100, 100), 240),
        ("xception", (71, 80), 299),
    ],
)
def test_a_family_with_one_set_of_weights_uses_it_for_every_size(
    name: str, size: tuple[int, int], expected: int
) -> None:
    assert backbones.get(name).weights_for(size) == expected == backbones.get(name).default_size


@pytest.mark.parametrize(
    ("size", "expected"), [(None, (224, 224)), (32, (32, 32)), ((40, 64), (40, 64))]
)
def test_a_backbone_is_made_for_its_size_without_classification_layers(
    size: Any, expected: tuple[int, int]
) -> None:
    backbone = backbones.create("mobilenet_v2", image_size=size, weights=None, options=TINY)
    assert backbone.input_shape == (None, *expected, 3)
    reference = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(*expected, 3), alpha=0.35
    )
    assert backbone.output_shape == reference.output_shape
    assert [type(layer) for layer in backbone.layers] == [type(layer) for layer in reference.layers]
    assert backbone.count_params() == reference.count_params()


def test_a_backbone_computes_in_the_dtype_that_its_options_name(tmp_path: Path) -> None:
    how = {**TINY, "dtype": "mixed_bfloat16"}
    backbone = backbones.create("mobilenet_v2", image_size=32, weights=None, options=how)
    assert keras.config.dtype_policy().name == "float32"  # for all that is built after it
    convolution = backbone.get_layer("Conv1")
    assert (convolution.compute_dtype, convolution.variable_dtype) == ("bfloat16", "float32")
    model = tlkit.build_classifier(backbone, 3, pixels="signed")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    probabilities = tlkit.predict(model, images)
    assert probabilities.dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    tlkit.save(model, tmp_path / "model.keras")
    loaded = tlkit.load(tmp_path / "model.keras")
    inner = tlkit.models.backbone_of(loaded).get_layer("Conv1")
    assert inner.compute_dtype == "bfloat16"
    np.testing.assert_allclose(tlkit.predict(loaded, images), probabilities, atol=1e-6)
    with pytest.raises(ConfigError, match="wide"):
        backbones.create("mobilenet_v2", weights=None, options={**how, "alpha": "wide"})
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": 31}, "`image_size` must be at least 32x32 for mobilenet_v2, got 31x31"),
        (
            {"image_size": (64, 16)},
            "`image_size` must be at least 32x32 for mobilenet_v2, got 64x16",
        ),
        (
            {"image_size": "big"},
            "`image_size` must be a whole number or a sequence of 2: a whole number, a whole "
            "number, got 'big'",
        ),
        ({"options": {"alhpa": 0.35}}, "got 'alhpa'. Did you mean 'alpha'?"),
        (
            {"options": {"dropout": 0.35}},
            "`backbone_options` must be one of ['alpha', 'dtype', 'name'",
        ),
        ({"options": {"pooling": "avg"}}, "`backbone_options` must be one of"),
        ({"options": {"classifier_activation": None}}, "`backbone_options` must be one of"),
        ({"options": {"dtype": "bfloat16"}}, "`dtype` must be one of ['float32', 'mixed_bfl"),
        ({"weights": "no/such.weights.h5"}, "the path of a weights file, got 'no/such.weights.h5'"),
        ({"weights": "imagnet"}, "`weights` must be 'imagenet', 'starter', None or the path"),
    ],
)
def test_a_bad_argument_is_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.create("mobilenet_v2", **{"weights": None, "image_size": 32, **arguments})
    assert words in str(caught.value)


def test_channels_first_is_refused_with_the_remedy(channels_first: None) -> None:
    with pytest.raises(ConfigError, match=r"set_image_data_format\('channels_last'\) first"):
        backbones.create("mobilenet_v2", image_size=32, weights=None)


def test_a_weights_file_is_loaded(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    saved = backbones.create("mobilenet_v2", image_size=32, weights=None, options=TINY)
    path = tmp_path / "mine.weights.h5"
    saved.save_weights(path)
    loaded = backbones.create("mobilenet_v2", image_size=32, weights=str(path), options=TINY)
    for mine, theirs in zip(loaded.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_on_disk_are_loaded_for_another_size_without_a_warning(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    keras.utils.set_random_seed(2)
    saved = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(224, 224, 3), alpha=0.35
    )
    (tmp_path / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    saved.save(tmp_path / "models" / name)
    np.savez(tmp_path / "expected.npz", *saved.get_weights())
    told = run_python(
        "import os, warnings, keras, numpy as np, tlkit\n"
        "warnings.simplefilter('error')  # not before: packages that Keras imports may warn\n"
        "create = tlkit.models.backbones.create\n"
        "made = create('mobilenet_v2', image_size=32, options={'alpha': 0.35})\n"
        "with np.load(os.environ['KERAS_HOME'] + '/expected.npz') as expected:\n"
        "    pairs = list(zip(made.get_weights(), expected.values(), strict=True))\n"
        "print(len(pairs), all(np.array_equal(have, want) for have, want in pairs))\n",
        KERAS_HOME=str(tmp_path),
        http_proxy="http://127.0.0.1:9",  # were the file not found, no host would answer
        https_proxy="http://127.0.0.1:9",
    )
    assert told.splitlines()[-1] == f"{len(saved.get_weights())} True"


def test_what_keras_refuses_is_a_config_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't build mobilenet_v2 .*'alpha': 'wide'"):
        backbones.create("mobilenet_v2", image_size=32, weights=None, options={"alpha": "wide"})
    with pytest.raises(ConfigError, match=r"`weights` must be a path, got 3"):
        backbones.create("mobilenet_v2", image_size=32, weights=3)


DAMAGES = [
    (lambda content: b"", "it is empty"),
    (lambda content: content[: len(content) // 2], "it is cut short"),
    (lambda content: b"<html>404</html>", "it is a web page or XML"),
    (lambda content: b"hello", "it is not a .h5 file"),
    (lambda content: content[:3000] + b"\xff" * 20000 + content[23000:], "[A-Z]"),
]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backbone = backbones.create("mobilenet_v2", image_size=32, weights=None, options=TINY)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    backbone.save_weights(path)
    return path


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_a_damaged_weights_file_is_named_with_what_is_wrong(
    weights_file: Path, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / "mine.weights.h5"
    path.write_bytes(damage(weights_file.read_bytes()))
    with pytest.raises(ConfigError, match=rf"`weights` must be .*, got '.*mine.*': {words}") as got:
        backbones.create("mobilenet_v2", image_size=32, weights=path, options=TINY)
    assert "Copy the file again" in str(got.value)


def test_weights_of_another_width_are_named(weights_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"got '.*tiny.weights.h5': .*objects could not be load"):
        backbones.create("mobilenet_v2", image_size=32, weights=str(weights_file))


@pytest.mark.parametrize(("damage", "words"), DAMAGES[:4])
def test_a_damaged_download_is_named_with_what_to_do(
    weights_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    words: str,
) -> None:
    monkeypatch.setattr("tlkit._internal.downloads.keras_home", lambda: str(tmp_path))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(damage(weights_file.read_bytes()))
    with pytest.raises(
        DataError, match=rf"weights of mobilenet_v2 can't .*{name}': {words}"
    ) as got:
        backbones.create("mobilenet_v2", image_size=32, options=TINY)
    assert "Delete this file, and it is downloaded again" in str(got.value)
