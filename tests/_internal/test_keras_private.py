import tempfile
from pathlib import Path

import keras
import pytest
from keras.src.utils import file_utils

from tlkit._internal import keras_private, temporaries


@pytest.fixture
def shared() -> keras.layers.Layer:
    return keras.layers.Dense(3, name="shared")


@pytest.fixture
def model(shared: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Add()([shared(shared(inputs)), inputs]))


def test_layers_inside_layers_are_found() -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")])
    outer = keras.layers.TimeDistributed(inner)
    assert inner.layers[0] in keras_private.flatten_layers(outer)


def test_a_sequential_keeps_its_graph_inside() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    assert not keras_private.has_graph(model)
    assert keras_private.has_graph(keras_private.functional_inside(model))


def test_nodes_come_in_the_order_of_the_computation(model: keras.Model) -> None:
    seen: set[int] = set()
    for node in keras_private.nodes_in_order(model):
        assert all(id(tensor) in seen for tensor in node.input_tensors)
        seen.update(map(id, node.outputs))
    assert {id(tensor) for tensor in model.outputs} <= seen


def test_a_shared_layers_calls_elsewhere_are_left_out(
    shared: keras.layers.Layer, model: keras.Model
) -> None:
    shared(keras.Input((3,)))
    nodes = keras_private.nodes_of(shared, model)
    assert len(nodes) == 2
    assert keras_private.operation_of(nodes[0].outputs[0]) is shared


def test_a_layers_own_variables_are_without_those_inside_it() -> None:
    layer = keras.layers.BatchNormalization()
    holder = keras.Sequential([keras.Input((4,)), layer])
    assert len(keras_private.own_trainable(layer)) == 2
    assert len(keras_private.own_non_trainable(layer)) == 2
    assert keras_private.own_trainable(holder) == []


def test_the_temporary_folders_of_keras_name_their_process(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = []

    def record(path: Path) -> None:
        made.extend(each.name for each in tmp_path.iterdir())
        remove(path)

    remove = temporaries.remove
    monkeypatch.setattr(file_utils, "rmtree", lambda path: record(Path(path)))
    file = tmp_path / "folder" / "model.keras"
    file.parent.mkdir()
    with keras_private.owned_temporary_folders():
        model.save(file)
    assert [name[:9] for name in made if name != "folder"] == [temporaries.WRITING]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_shared_generator_is_what_layers_without_a_seed_draw_from() -> None:
    before = keras_private.shared_generator()
    try:
        generator = keras.random.SeedGenerator(1)
        keras_private.set_shared_generator(generator)
        keras.random.normal((2,))
        assert keras_private.shared_generator() is generator
        assert generator.state[1] != 0  # it has been drawn from
    finally:
        keras_private.set_shared_generator(before)


def test_the_cache_is_where_keras_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: "somewhere")
    assert keras_private.keras_home() == "somewhere"
