"""Files of unknown origin that a Keras model is read from: each fault is one short, clear error."""

import io
import json
import os
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from tests.samples import small_classifier

import tlkit
from tlkit import deployment, experiments
from tlkit._internal import keras_files
from tlkit.errors import ConfigError
from tlkit.models import backbone_files, hub_folder

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a classifier's file holds, by name."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.BatchNormalization()(x)
    path = tmp_path_factory.mktemp("good") / "model.keras"
    tlkit.save(small_classifier(keras.Model(image, x)), path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _edit_config(edit: Callable[[dict[str, Any]], None]) -> Change:
    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        edit(config)
        members["config.json"] = json.dumps(config).encode()

    return change


def _replace(before: str, after: str) -> Change:
    def change(members: dict[str, bytes]) -> None:
        text = members["config.json"].decode()
        assert before in text
        members["config.json"] = text.replace(before, after).encode()

    return change


def _edit_weights(edit: Callable[[Any, Any, str], None]) -> Change:
    """Change the first dataset of the weights; `edit` gets the file, its group and its name."""

    def change(members: dict[str, bytes]) -> None:
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as root:
            names: list[str] = []
            root.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            group, name = root[names[0]].parent, names[0].rsplit("/", 1)[1]
            edit(root, group, name)
        members["model.weights.h5"] = file.getvalue()

    return change


def _link(make: Callable[[str], Any]) -> Change:
    def edit(root: Any, group: Any, name: str) -> None:
        del group[name]
        group[name] = make(f"{group.name}/other")

    return _edit_weights(edit)


def _recreate(**how: Any) -> Change:
    def edit(root: Any, group: Any, name: str) -> None:
        shape = how.pop("shape", group[name].shape)
        del group[name]
        group.create_dataset(name, shape, **{"dtype": "float32", **how})

    return lambda members: _edit_weights(edit)(members)


def _make_virtual(root: Any, group: Any, name: str) -> None:
    layout = h5py.VirtualLayout(group[name].shape, "float32")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "a", group[name].shape)
    del group[name]
    group.create_virtual_dataset(name, layout)


def _set_nan(root: Any, group: Any, name: str) -> None:
    group[name][...] = np.nan


def _set_infinite(root: Any, group: Any, name: str) -> None:
    group[name][...] = np.inf


def _make_cycle(root: Any, group: Any, name: str) -> None:
    group["again"] = root


def _nest(config: dict[str, Any]) -> None:
    inner: Any = 0
    for _ in range(500):
        inner = [inner]
    config["config"]["trainable"] = inner


def _drop(name: str) -> Change:
    return lambda members: members.pop(name)


def _add(name: str, content: bytes) -> Change:
    return lambda members: members.update({name: content})


_LAMBDA = {
    "class_name": "__lambda__",
    "config": {"value": ["4wEAAAAAAAAA\n", None, None]},
}
_CONV = '"module": "keras.layers", "class_name": "Conv2D"'
CHANGES: dict[str, tuple[Change, str]] = {
    "a bomb of weights": (
        _add("model.weights.h5", bytes(100_000_000)),
        r"unpacks to 100\.\d MB from",
    ),
    "a bomb beside": (_add("assets/a", bytes(100_000_000)), r"unpacks to 100\.\d MB from"),
    "a bomb of a config": (_add("config.json", b" " * 40_000_000), "its config.json is 40.0 MB"),
    "no config": (_drop("config.json"), "it has no config.json"),
    "no weights": (_drop("model.weights.h5"), "it has no model.weights.h5"),
    "outside": (_add("../a", b""), r"a part '../a', which would be written elsewhere"),
    "absolute": (_add("/a", b""), "a part '/a', which would be written elsewhere"),
    "drive": (_add("C:a", b""), "a part 'C:a', which would be written elsewhere"),
    "many": (
        lambda members: members.update({f"assets/{n}": b"" for n in range(1001)}),
        "it has 1,004 parts",
    ),
    "no JSON": (_add("config.json", b"PK"), "its config is not JSON"),
    "not UTF-8": (_add("config.json", b'{"class_name": "\xff"}'), "."),
    "a list": (_add("config.json", b"[1]"), "its config does not describe a model"),
    "nested text": (_add("config.json", b"[" * 100_000), "its config is nested too deeply"),
    "nested": (_edit_config(_nest), "its config is nested too deeply"),
    "another class": (
        _replace(_CONV, '"module": "os", "class_name": "system"'),
        "the class 'system', which is not registered here",
    ),
    "another module": (
        _replace(_CONV, '"module": "keras.utils", "class_name": "get_file"'),
        "the class 'get_file', which is not registered here",
    ),
    "a module inside": (
        _replace(_CONV, '"module": "keras.src.utils.file_utils", "class_name": "get_file"'),
        "the class 'get_file', which is not registered here",
    ),
    "a function": (
        _replace(
            '"activation": "relu"',
            '"activation": {"class_name": "function", "config": '
            '"system", "module": "os", "registered_name": "system"}',
        ),
        "the function 'system', which is not registered here",
    ),
    "a lambda": (
        _replace('"activation": "relu"', f'"activation": {json.dumps(_LAMBDA)}'),
        "code in a __lambda__, and models are loaded without code",
    ),
    "NaN in the config": (_replace('"epsilon": 0.001', '"epsilon": NaN'), "its config has NaN"),
    "a saved model": (
        _replace(_CONV, '"module": "keras.layers", "class_name": "TFSMLayer"'),
        "code in a TFSMLayer",
    ),
    "a vocabulary": (
        _replace(
            _CONV,
            '"vocabulary": "/etc/passwd", "module": "keras.layers", "class_name": "StringLookup"',
        ),
        "reads a vocabulary from another file",
    ),
    "a soft link": (_link(lambda name: h5py.SoftLink("/layers")), "have a link"),
    "an external link": (_link(lambda name: h5py.ExternalLink("/etc/a.h5", "/")), "have a link"),
    "external storage": (_recreate(external="/tmp/a.bin"), "are in another file"),
    "virtual": (_edit_weights(_make_virtual), "are in another file"),
    "text": (_recreate(dtype=h5py.string_dtype()), "are not numbers"),
    "huge and empty": (_recreate(shape=(2**40,)), "declare 4,398.0 GB, and"),
    "huge and compressed": (
        _recreate(shape=(2**28,), compression="gzip", chunks=(2**20,)),
        "declare 1.1 GB, and",
    ),
    "NaN": (_edit_weights(_set_nan), r"its weight '.*' has numbers that are NaN or infinite"),
    "infinite": (_edit_weights(_set_infinite), r"its weight '.*' has numbers that are NaN"),
    "more weights than stored": (
        _replace('"filters": 4', '"filters": 2147483648'),
        "would have more than",
    ),
    "another shape": (_replace('"filters": 4', '"filters": 5'), "it may be damaged, or of a newer"),
    "no class": (
        _replace(
            '"module": "keras.layers", "class_name": "Conv2D"',
            '"module": "keras.layers", "class_name": "Conv9D"',
        ),
        "Conv9D",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_file_of_unknown_origin_is_refused_in_a_few_words(
    members: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    change, reason = CHANGES[kind]
    changed = dict(members)
    change(changed)
    path = _write(tmp_path / "model.keras", changed)
    start = time.perf_counter()
    with pytest.raises(
        ConfigError, match=rf"`path` must be a .*got '.*model.keras': .*{reason}"
    ) as got:
        tlkit.load(path)
    assert time.perf_counter() - start < 5
    assert len(str(got.value)) < 500


def test_groups_that_hold_each_other_end(members: dict[str, bytes]) -> None:
    before = keras_files.check_weights(io.BytesIO(members["model.weights.h5"]))
    changed = dict(members)
    _edit_weights(_make_cycle)(changed)
    assert keras_files.check_weights(io.BytesIO(changed["model.weights.h5"])) == before


def test_two_members_of_one_name_are_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = _write(tmp_path / "model.keras", members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(ConfigError, match="two of its parts have the same name"):
        tlkit.load(path)


def test_a_file_is_read_whether_it_is_compressed_or_not(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        model = tlkit.load(_write(tmp_path / f"{how}.keras", members, how))
        assert keras_files.check_weights(io.BytesIO(members["model.weights.h5"])) >= sum(
            weight.size for weight in map(np.asarray, model.trainable_weights)
        )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_is_refused_by_every_reader(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    (tmp_path / "folder.keras").mkdir()
    for name, why in (
        ("pipe.keras", "it is a pipe"),
        ("zero.keras", "it is a device"),
        ("folder.keras", "it is a folder"),
        ("a\0b.keras", "NUL character|characters that no path has"),
        ("none.keras", "no such file"),
    ):
        with pytest.raises(ConfigError, match=why):
            tlkit.load(tmp_path / name)
        with pytest.raises(ConfigError, match=why):
            backbone_files.load(str(tmp_path / name))
    (tmp_path / "model.h5").write_bytes(members["model.weights.h5"])
    with pytest.raises(ConfigError, match="its name must end in .keras"):
        tlkit.load(tmp_path / "model.h5")


def test_every_reader_of_a_model_has_the_same_gate(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    changed = dict(members)
    CHANGES["a lambda"][0](changed)
    path = _write(tmp_path / "model.keras", changed)
    exported = _write(tmp_path / "exported.keras", {**changed, "tlkit.json": b"{}"})
    for call in (
        lambda: tlkit.load(path),
        lambda: backbone_files.load(str(path)),
        lambda: experiments.load_classifier(path, data=""),
        lambda: experiments.export_run(path, format="keras"),
        lambda: experiments.create_demo(path),
        lambda: deployment.Predictor(exported),
    ):
        with pytest.raises(ConfigError, match="code in a __lambda__"):
            call()


def test_weights_that_are_not_finite_are_not_saved(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    model = tlkit.load(_write(tmp_path / "model.keras", members))
    weight = model.trainable_weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ConfigError, match="NaN or infinite"):
        tlkit.save(model, tmp_path / "new.keras")


def test_a_file_of_weights_is_checked_for_links(tmp_path: Path) -> None:
    path = tmp_path / "backbone.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/other.h5", "/")
    with pytest.raises(ConfigError, match=r"`weights` must be a file of weights, .*have a link"):
        tlkit.build_classifier("mobilenet_v2", 2, weights=str(path), image_size=32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class_name": "Lambda", "module": "os", "registered_name": "x"}, "class 'Lambda', which"),
        ({"config": {"vocabulary": "/etc/passwd"}}, "reads a vocabulary from another file"),
        ({"config": {"layer": {"class_name": "__lambda__", "config": {}}}}, "code in a __lambda__"),
    ],
)
def test_a_preset_of_kerashub_has_the_same_gate(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    name = "keras_hub>ViTBackbone"
    config = {"class_name": "ViTBackbone", "module": "keras_hub.src", "registered_name": name}
    (tmp_path / "config.json").write_text(json.dumps({"config": {}, **config, **change}))
    with pytest.raises(ConfigError, match=rf"`backbone` must be the folder of a .*{reason}"):
        hub_folder.check(tmp_path, with_weights=False)
    (tmp_path / "config.json").write_text(json.dumps({"config": {}, **config}))
    hub_folder.check(tmp_path, with_weights=False)
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file["a"] = h5py.ExternalLink("/etc/other.h5", "/")
    with pytest.raises(ConfigError, match="model.weights.h5 is damaged: its weights have a link"):
        hub_folder.check(tmp_path, with_weights=True)
    names = {"weight_map": {"a": ["../other.weights.h5"]}}
    (tmp_path / "model.weights.json").write_text(json.dumps(names))
    with pytest.raises(ConfigError, match="its weights '../other.weights.h5' are in another f"):
        hub_folder.check(tmp_path, with_weights=True)


def test_the_number_of_classes_is_bounded() -> None:
    for count in (2**31, 10**12):
        with pytest.raises(ConfigError, match="at most 1,000,000"):
            tlkit.build_classifier("mobilenet_v2", count, weights="starter", image_size=32)


def test_random_damage_is_refused_or_harmless(members: dict[str, bytes], tmp_path: Path) -> None:
    path = _write(tmp_path / "model.keras", members)
    content = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(60):
        at, end = sorted(draw.randrange(len(content)) for _ in range(2))
        flipped = bytes([content[at] ^ 1 << draw.randrange(8)])
        path.write_bytes(
            draw.choice(
                (
                    content[:at],
                    content[:at] + flipped + content[at + 1 :],
                    content[:at] + content[end:],
                    content[:at] + draw.randbytes(4) + content[at:],
                )
            )
        )
        try:
            tlkit.load(path)
        except ConfigError as error:
            assert "model.keras" in str(error) and len(str(error)) < 500
            refused += 1
    assert refused > 50
