from collections.abc import Callable
from typing import Any, get_args

import keras
import numpy as np
import pytest

from tlkit import freezing
from tlkit.errors import ConfigError

BATCHNORM = {"stem_bn", "block_1_bn", "block_2_bn", "top_bn"}


def chosen(select: freezing.Select, backbone: keras.Model) -> list[int]:
    """The places in `backbone.layers` of what was selected."""
    places = {id(layer): index for index, layer in enumerate(backbone.layers)}
    return [places[id(layer)] for layer in select(backbone)]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (freezing.everything, range(11)),
        (freezing.nothing, []),
        (freezing.first(0), []),
        (freezing.first(4), range(4)),
        (freezing.first(11), range(11)),
        (freezing.last(0), []),
        (freezing.last(4), range(7, 11)),
        (freezing.last(11), range(11)),
        (freezing.first_fraction(0), []),
        (freezing.first_fraction(0.5), range(5)),  # 5.5 layers, rounded down
        (freezing.first_fraction(0.999), range(10)),
        (freezing.first_blocks(1), range(6)),
        (freezing.first_blocks(2), range(9)),
        (freezing.matching("block_1_*"), [3, 4, 5]),
        (freezing.matching("*_bn"), [2, 4, 7, 10]),
        (freezing.matching("block_?_add"), [5, 8]),
        (freezing.matching("stem"), [1]),
        (freezing.all_but(freezing.first(4)), range(4, 11)),
        (freezing.all_but(freezing.matching("*_bn")), [0, 1, 3, 5, 6, 8, 9]),
        (freezing.all_but(freezing.everything), []),
        (freezing.to_block_end(freezing.first(3)), range(3)),
        (freezing.to_block_end(freezing.first(4)), range(6)),
        (freezing.to_block_end(freezing.first(6)), range(6)),
        (freezing.to_block_end(freezing.first(7)), range(9)),
        (freezing.to_block_end(freezing.last(4)), range(6, 11)),
        (freezing.to_block_end(freezing.nothing), []),
        (freezing.to_block_end(freezing.matching("block_2_bn")), [6, 7, 8]),
    ],
)
def test_each_selection_chooses_its_layers_in_order(
    select: freezing.Select, expected: list[int], small_backbone: keras.Model
) -> None:
    assert chosen(select, small_backbone) == list(expected)


def test_a_hundred_layers_of_mobilenet_v2_become_107_at_the_block_end() -> None:
    backbone = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )
    assert chosen(freezing.first(100), backbone) == list(range(100))
    assert chosen(freezing.to_block_end(freezing.first(100)), backbone) == list(range(107))
    assert freezing.first_blocks(1)(backbone)[-1].name == "block_2_add"


def test_a_gate_ends_no_block_of_efficientnet() -> None:
    backbone = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    assert freezing.first_blocks(1)(backbone)[-1].name == "block2b_add"
    ends = [row.name for row in freezing.plan(backbone, freezing.nothing).rows if row.block_end]
    assert len(ends) == 9
    assert all(name.endswith("_add") for name in ends)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            freezing.first,
            "`count` must be at most 11, the number of layers of the backbone, got 12",
        ),
        (freezing.last, "`count` must be at most 11, the number of layers of the backbone, got 12"),
        (
            freezing.first_blocks,
            "`count` must be at most 2, the number of residual blocks of the backbone, got 12",
        ),
    ],
)
def test_a_count_that_is_too_large_is_refused_with_the_maximum(
    make: Callable[[int], freezing.Select], words: str, small_backbone: keras.Model
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(12)(small_backbone)
    assert words in str(caught.value)


def test_a_backbone_without_blocks_is_refused() -> None:
    chain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(
        ConfigError, match="at most 0, the number of residual blocks of the backbone, got 1"
    ):
        freezing.first_blocks(1)(chain)


@pytest.mark.parametrize(
    ("make", "value", "words"),
    [
        (freezing.first, -1, "`count` must be a whole number of at least 0, got -1"),
        (freezing.first, 2.0, "`count` must be a whole number, got 2.0"),
        (freezing.last, True, "`count` must be a whole number, got True"),
        (freezing.last, -1, "`count` must be a whole number of at least 0, got -1"),
        (freezing.first_blocks, 0, "`count` must be a whole number of at least 1, got 0"),
        (freezing.first_fraction, 1, "`fraction` must be a number of at least 0 and below 1"),
        (freezing.first_fraction, -0.1, "`fraction` must be a number of at least 0 and below 1"),
        (freezing.first_fraction, "half", "`fraction` must be a number, got 'half'"),
    ],
)
def test_a_bad_count_is_refused_before_there_is_a_backbone(
    make: Callable[[Any], freezing.Select], value: Any, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(value)
    assert words in str(caught.value)


def test_a_pattern_that_matches_nothing_suggests_the_nearest_name(
    small_backbone: keras.Model,
) -> None:
    with pytest.raises(ConfigError) as caught:
        freezing.matching("blokc_1_conv")(small_backbone)
    assert "`pattern` must match the name of a layer of small_backbone" in str(caught.value)
    assert "got 'blokc_1_conv'. Did you mean 'block_1_conv'" in str(caught.value)


def test_an_unknown_batchnorm_policy_suggests_the_nearest(small_backbone: keras.Model) -> None:
    with pytest.raises(ConfigError, match=r"`batchnorm` must be one of .*Did you mean 'frozen'\?"):
        freezing.plan(small_backbone, freezing.nothing, batchnorm="frosen")


@pytest.mark.parametrize("policy", get_args(freezing.BatchNormPolicy))
@pytest.mark.parametrize("count", [0, 4, 11])
def test_apply_sets_exactly_the_flags_of_the_plan(
    policy: str, count: int, small_backbone: keras.Model
) -> None:
    small_backbone.trainable = False
    small_backbone.layers[1].trainable = True
    plan = freezing.plan(small_backbone, freezing.first(count), batchnorm=policy)
    freezing.apply(plan)
    names = [layer.name for layer in small_backbone.layers]
    still = set(names[:count]) | (BATCHNORM if policy == "frozen" else set())
    flags = {layer.name: layer.trainable for layer in small_backbone.layers}
    assert flags == {name: name not in still for name in names}
    assert {row.name: row.trainable for row in plan.rows} == flags
    moving = {variable.path.split("/")[0] for variable in small_backbone.trainable_variables}
    weighted = {layer.name for layer in small_backbone.layers if layer.weights}
    assert moving == weighted - still


def test_planning_changes_no_flag(small_backbone: keras.Model) -> None:
    str(freezing.plan(small_backbone, freezing.everything))
    assert all(layer.trainable for layer in small_backbone.layers)


def test_a_second_plan_undoes_the_first(small_backbone: keras.Model) -> None:
    freezing.apply(freezing.plan(small_backbone, freezing.everything))
    assert small_backbone.trainable_variables == []
    freezing.apply(freezing.plan(small_backbone, freezing.nothing, batchnorm="train"))
    assert len(small_backbone.trainable_variables) == 4 * 2 + 4 * 2


@pytest.mark.parametrize("policy", get_args(freezing.BatchNormPolicy))
@pytest.mark.parametrize("count", [0, 4])
def test_every_batchnorm_is_either_frozen_or_trained(
    policy: str, count: int, small_backbone: keras.Model
) -> None:
    plan = freezing.plan(small_backbone, freezing.first(count), batchnorm=policy)
    trained = set()
    if policy != "frozen":
        trained = {"block_1_bn", "block_2_bn", "top_bn"} | ({"stem_bn"} if count == 0 else set())
    assert {norm.name for norm in plan.training_batchnorm} == trained
    assert {norm.name for norm in plan.frozen_batchnorm} == BATCHNORM - trained


def composite_backbone() -> keras.Model:
    """A backbone one of whose layers is a model with a BatchNormalization two levels down."""
    norm = keras.layers.BatchNormalization(name="norm")
    inner = keras.Sequential([keras.layers.Dense(3, name="inner_dense"), norm], name="inner")
    outer = keras.Sequential([inner, keras.layers.Dense(3, name="outer_dense")], name="outer")
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2, name="after")(outer(inputs)))


@pytest.mark.parametrize(
    ("select", "policy", "trained"),
    [
        (freezing.nothing, "frozen", {"inner_dense", "outer_dense", "after"}),
        (freezing.nothing, "train", {"inner_dense", "norm", "outer_dense", "after"}),
        (freezing.matching("outer"), "train", {"after"}),
    ],
)
def test_batchnorm_inside_a_composite_layer_follows_the_policy(
    select: freezing.Select, policy: str, trained: set[str]
) -> None:
    backbone = composite_backbone()
    freezing.apply(freezing.plan(backbone, freezing.everything))
    plan = freezing.plan(backbone, select, batchnorm=policy)
    freezing.apply(plan)
    assert {variable.path.split("/")[-2] for variable in backbone.trainable_variables} == trained
    norm = backbone.get_layer("outer").get_layer("inner").get_layer("norm")
    assert norm.trainable == ("norm" in trained)
    assert freezing.find_batchnorm(backbone) == [norm]
    row = plan.rows[1]
    assert (row.name, row.batchnorm) == ("outer", "train" if "norm" in trained else "frozen")
    assert row.trainable == ("inner_dense" in trained)


def test_frozen_batchnorm_keeps_its_statistics_in_a_training_call(
    small_backbone: keras.Model,
) -> None:
    freezing.apply(freezing.plan(small_backbone, freezing.nothing))
    before = [np.array(variable) for variable in small_backbone.non_trainable_variables]
    small_backbone(np.random.default_rng(0).random((4, 16, 16, 3), "float32"), training=True)
    for old, new in zip(before, small_backbone.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_rows_describe_each_layer(small_backbone: keras.Model) -> None:
    plan = freezing.plan(small_backbone, freezing.first_blocks(1), batchnorm="reestimate")
    rows = plan.rows
    assert [row.index for row in rows] == list(range(11))
    assert [row.name for row in rows] == [layer.name for layer in small_backbone.layers]
    assert [row.layer_type for row in rows[:3]] == ["InputLayer", "Conv2D", "BatchNormalization"]
    sizes = [sum(weight.numpy().size for weight in each.weights) for each in small_backbone.layers]
    assert [row.num_parameters for row in rows] == sizes
    assert [row.trainable for row in rows] == [False] * 6 + [True] * 5
    modes = {row.name: row.batchnorm for row in rows if row.batchnorm}
    assert modes == {
        "stem_bn": "frozen",
        "block_1_bn": "frozen",
        "block_2_bn": "reestimate",
        "top_bn": "reestimate",
    }
    assert [row.index for row in rows if row.block_end] == [5, 8]


def table_cells(plan: freezing.FreezePlan) -> dict[str, dict[str, str]]:
    """The printed table as text, for each layer the cell under each heading."""
    heading, *lines = str(plan).splitlines()
    columns = ["#", "layer", "type", "parameters", "trainable", "BatchNorm", "block end"]
    starts = [heading.index(column) for column in columns]
    starts[0], starts[3] = 0, starts[3] - 1  # cells of these two may start before their heading
    cells = [
        {
            column: line[start:end].strip()
            for column, start, end in zip(columns, starts, [*starts[1:], None], strict=True)
        }
        for line in lines
    ]
    return {row["layer"]: row for row in cells}


def test_the_printed_table_shows_every_row(small_backbone: keras.Model) -> None:
    plan = freezing.plan(small_backbone, freezing.first(4), batchnorm="train")
    table = table_cells(plan)
    assert list(table) == [layer.name for layer in small_backbone.layers]
    for row in plan.rows:
        assert table[row.name] == {
            "#": str(row.index),
            "layer": row.name,
            "type": row.layer_type,
            "parameters": str(row.num_parameters),
            "trainable": "yes" if row.trainable else "",
            "BatchNorm": row.batchnorm or "",
            "block end": "end" if row.block_end else "",
        }


def test_a_selection_of_layers_that_are_not_the_backbones_is_refused(
    small_backbone: keras.Model,
) -> None:
    stranger = keras.layers.Dense(1, name="stranger")
    for wrong in ([stranger], ["stem"]):
        with pytest.raises(ConfigError, match="`select` must return layers of `small_backbone"):
            freezing.plan(small_backbone, lambda backbone, wrong=wrong: wrong)


def test_a_pattern_is_a_string() -> None:
    with pytest.raises(ConfigError, match="`pattern` must be a string, got 5"):
        freezing.matching(5)
