import json
from dataclasses import replace

import keras
import numpy as np
import pytest

import tlkit
from tlkit import sources
from tlkit.data import ImageDataset, LazyImages
from tlkit.errors import ConfigError, DataError, DownloadError
from tlkit.evaluation import BackboneCandidate, BackboneSearch, ProbedBackbone
from tlkit.evaluation.probing import (
    backbone_search,
    candidates,
    contenders,
    paired,
    search_result,
    timing,
)


def _stripes(count: int = 200) -> ImageDataset:
    """Return images whose class is the position of a bright stripe."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, 16, 16, 3), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[4 + 3 * label : 6 + 3 * label] += 150
    return sources.from_arrays(images, labels, class_names="abc")


def _backbone(name: str, filters: int) -> keras.Model:
    """Return a backbone whose first layer shows where the stripe is, and whose last does not."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    early = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="early")(inputs)
    wide = keras.layers.Conv2D(2 * filters, 3, padding="same", name="wide")(early)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="late")(wide), name=name)


def _candidate(name: str, filters: int) -> BackboneCandidate:
    return BackboneCandidate(backbone=_backbone(name, filters), pixels=(0, 1))


@pytest.fixture(scope="module")
def search() -> BackboneSearch:
    said: list[object] = []
    found = tlkit.probe_backbones(
        [_candidate("narrow", 2), _candidate("broad", 32)], _stripes(), on_message=said.append
    )
    assert [str(line).split(":")[0] for line in said] == ["narrow at 16 px", "broad at 16 px"]
    return found


def test_the_fastest_of_those_not_measurably_worse_is_recommended(search: BackboneSearch) -> None:
    assert search.best.accuracy == 1.0
    chosen = search.recommended
    fastest = min(row.milliseconds for row in search.rows if row.accuracy == 1.0)
    assert (chosen.layer, chosen.accuracy, chosen.behind) == ("early", 1.0, 0.0)
    assert chosen.milliseconds <= 1.1 * fastest
    assert f"Recommended: {chosen.candidate} at 16 px, after early" in str(search)


def test_accuracies_are_those_of_a_probe_of_each_backbone(search: BackboneSearch) -> None:
    for name, filters in (("narrow", 2), ("broad", 32)):
        model = tlkit.build_classifier(_backbone(name, filters), 3, pixels=(0, 1))
        data = _stripes()
        probed = tlkit.probe(model, (data.images, data.labels), sample=None)
        wanted = {(each.layer, each.pooling): each.accuracy for each in probed.layers}
        rows = [row for row in search.rows if row.candidate == name]
        assert rows
        for row in rows:  # a probe has the best penalty of all folds
            best = wanted[row.layer, row.pooling]
            assert best - 0.15 < row.accuracy <= best
            assert row.interval[0] <= row.accuracy <= row.interval[1]


def test_the_weights_counted_are_those_of_the_classifier_that_would_be_trained(
    search: BackboneSearch,
) -> None:
    backbones = {"narrow": _backbone("narrow", 2), "broad": _backbone("broad", 32)}
    for row in search.rows:
        built = tlkit.build_classifier(
            backbones[row.candidate],
            3,
            features=[row.layer],
            pooling=row.pooling,
            pixels=(0, 1),
            input_shape=(16, 16, 3),
        )
        assert row.num_parameters == built.count_params()
        assert row.megabytes == 4 * built.count_params() / 1e6


def test_a_search_survives_json(search: BackboneSearch) -> None:
    values = json.loads(json.dumps(search.to_dict()))
    again = BackboneSearch.from_dict(values)
    assert again == search
    marked = [row["layer"] for row in values["rows"] if row["recommended"]]
    assert marked == [search.recommended.layer]
    assert values["explanation"] == search.explain()


def _row(
    name: str, accuracy: float, milliseconds: float, parameters: int, **more
) -> ProbedBackbone:
    return ProbedBackbone(
        candidate=name,
        backbone=name,
        options={},
        weights=None,
        image_size=32,
        layer="end",
        pooling="avg",
        num_parameters=parameters,
        accuracy=accuracy,
        interval=(accuracy - 0.02, accuracy + 0.02),
        milliseconds=milliseconds,
        **more,
    )


ROWS = (
    _row("best", 0.90, 10.0, 1_000_000),
    _row("close", 0.895, 5.0, 2_000_000, behind=0.005, behind_error=0.006),
    _row("as fast", 0.896, 5.2, 500_000, behind=0.004, behind_error=0.006),
    _row("worse", 0.85, 1.0, 100_000, behind=0.05, behind_error=0.01),
    _row("useless", 0.80, 6.0, 3_000_000, behind=0.1, behind_error=0.01),
)
SEARCH = BackboneSearch(
    rows=ROWS,
    left_out=(),
    num_images=1000,
    engine="keras",
    batch_size=32,
    max_ms=None,
    max_mb=None,
    seconds=1.0,
)


def test_the_rule_of_choice() -> None:
    assert SEARCH.recommended.candidate == "as fast"  # within a tenth of the fastest, and smaller
    without = replace(SEARCH, rows=(*ROWS[:2], *ROWS[3:]))
    assert without.recommended.candidate == "close"
    by_time, by_size = SEARCH.fronts
    assert [row.candidate for row in by_time] == ["worse", "close", "as fast", "best"]
    assert [row.candidate for row in by_size] == ["worse", "as fast", "best"]
    assert SEARCH.note(ROWS[3]) == "front: ms, front: MB"
    assert "is not measurably better: 90.0 %, 0.4 points ahead" in SEARCH.explain()
    assert "less than the best, ± one standard error of the difference" in str(SEARCH)


def test_a_limit_is_kept_and_said_where_nothing_keeps_it() -> None:
    limited = replace(SEARCH, max_ms=2.0)
    assert [row.candidate for row in limited.allowed] == ["worse"]
    assert limited.best.candidate == "worse"
    assert limited.note(ROWS[0]) == "front: ms, front: MB, above the limit"
    impossible = replace(SEARCH, max_ms=0.5, max_mb=0.1)
    assert impossible.recommended is None
    said = impossible.explain()
    assert said.startswith("No backbone is within 0.5 ms an image and 0.1 MB. The fastest is worse")
    assert "The smallest is worse at 32 px, after end: 0.40 MB" in str(impossible)


def test_a_limit_decides_what_the_best_is() -> None:
    found = tlkit.probe_backbones([_candidate("narrow", 2)], _stripes(60), max_mb=1e-4)
    assert found.recommended is None
    rows = backbone_search._add_differences(
        list(ROWS),
        [
            backbone_search._Measured(
                row=row, correct=np.arange(100) < n, groups=(), engine="keras", run=int
            )
            for row, n in zip(ROWS, (90, 89, 88, 85, 80), strict=True)
        ],
        2.0,
        None,
    )
    assert [round(row.behind, 2) for row in rows] == [-0.05, -0.04, -0.03, 0.0, 0.05]


def test_the_error_of_a_difference_is_that_of_paired_images() -> None:
    one, other = np.arange(100) < 90, np.arange(100) >= 12
    differences = one.astype(float) - other
    expected = np.sqrt(0.22 - 0.02**2) / 10  # 12 images only one has right, 10 only the other
    assert paired.standard_error(differences) == pytest.approx(expected)
    twice = np.repeat(differences, 2)
    groups = np.repeat(np.arange(100), 2).astype(str).tolist()
    assert paired.standard_error(twice, groups) == pytest.approx(expected)
    assert paired.standard_error(twice) == pytest.approx(expected / np.sqrt(2))


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    correct = np.arange(100) < 90
    alone = paired.wilson_interval(correct)
    expected = tlkit.evaluation.compute_metrics(
        np.zeros(100, int), np.eye(2)[(~correct).astype(int)], class_names="ab"
    ).accuracy_interval
    assert alone == pytest.approx(expected, abs=1e-6)
    twice = paired.wilson_interval(
        np.repeat(correct, 2), np.repeat(np.arange(100), 2).astype(str).tolist()
    )
    assert twice == pytest.approx(alone, abs=1e-6)
    assert paired.wilson_interval(np.ones(100, bool))[0] == pytest.approx(0.963, abs=1e-3)


def test_times_are_medians_over_turns() -> None:
    order: list[str] = []
    timing.time_in_turns([lambda: order.append("a"), lambda: order.append("b")])
    turns = [name for index, name in enumerate(order) if order[index - 1 : index] != [name]]
    assert turns.count("a") >= 5
    fast, slow = timing.time_in_turns([lambda: sum(range(100)), lambda: sum(range(100_000))])
    assert fast < slow / 20


@pytest.mark.parametrize(
    ("text", "backbone", "options", "weights", "sizes", "shown"),
    [
        ("mobilenet", "mobilenet", {}, "imagenet", (), "mobilenet"),
        ("starter", "mobilenet_v2", {}, "starter", (), "starter"),
        ("starter:image_size=32x48", "mobilenet_v2", {}, "starter", ((32, 48),), "starter"),
        ("starter:image_size=32", "mobilenet_v2", {}, "starter", (32,), "starter"),
        (
            "mobilenet_v2:alpha=0.35,image_size=96",
            *("mobilenet_v2", {"alpha": 0.35}, "imagenet", (96,), "mobilenet_v2:alpha=0.35"),
        ),
        (
            "mobilenet:weights=a,b=c.h5,alpha=1",
            *(
                "mobilenet",
                {"b": "c.h5", "alpha": 1},
                "a",
                (),
                "mobilenet:b=c.h5,alpha=1,weights=a",
            ),
        ),
        ("hf://timm/vit:x=1", "hf://timm/vit", {"x": 1}, "imagenet", (), "hf://timm/vit:x=1"),
    ],
)
def test_a_candidate_is_written_in_one_word(
    text: str, backbone: str, options: dict, weights: str, sizes: tuple, shown: str
) -> None:
    found = BackboneCandidate.parse(text)
    assert (found.backbone, found.options, found.weights) == (backbone, options, weights)
    assert (found.image_sizes, str(found)) == (sizes, shown)
    assert BackboneCandidate.parse(str(found)).options == found.options


@pytest.mark.parametrize(
    ("backbones", "message"),
    [
        (
            "mobilenet",
            "`backbones` must be a sequence of a string or a BackboneCandidate, got 'mobilenet'",
        ),
        ([], "`backbones` must be a list"),
        (["mobilenet:alpha"], "name:option=value,option=value, got 'mobilenet:alpha'"),
        (["mobilenet:=3"], "got 'mobilenet:=3'"),
        ([""], "got ''"),
        ([3], r"got \[3\]"),
        (["mobilenet:image_size=big"], "`image_size` must be pixels, such as 160"),
        (["mobilnet"], "Did you mean 'mobilenet'"),
        (["mobilenet:beta=1,weights=null"], "`backbone_options` must be one of"),
        (["mobilenet:weights=no.h5"], "`weights` must be"),
        (["mobilenet:image_size=8"], "No backbone is left: mobilenet at 8 px: `image_size`"),
    ],
)
def test_a_wrong_candidate_is_an_error(backbones, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tlkit.probe_backbones(backbones, _stripes(30))


def test_wrong_arguments_are_errors() -> None:
    fine = [_candidate("narrow", 2)]
    for wrong, message in (
        ({"max_ms": 0}, "`max_ms` must be a number above 0"),
        ({"max_mb": -1}, "`max_mb` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"sample": 3}, "`sample` must be"),
        ({"engine": "keas"}, "`engine` must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            tlkit.probe_backbones(fine, _stripes(60), **wrong)
    with pytest.raises(ConfigError, match="`data` must be an ImageDataset"):
        tlkit.probe_backbones(fine, (np.zeros((9, 8, 8, 3)), np.zeros(9)))
    with pytest.raises(ConfigError, match="a string or a BackboneCandidate, got .*narrow"):
        tlkit.probe_backbones([_backbone("narrow", 2)], _stripes(60))
    with pytest.raises(DataError, match="must hold at least"):
        tlkit.probe_backbones(fine, _stripes(8))


def test_what_cannot_be_downloaded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    build = contenders._build

    def offline(candidate: BackboneCandidate, size, data):
        if candidate.name == "far":
            raise DownloadError("Can't download far.")
        return build(candidate, size, data)

    monkeypatch.setattr(contenders, "_build", offline)
    both = [_candidate("far", 2), _candidate("narrow", 2)]
    found = tlkit.probe_backbones(both, _stripes(60))
    assert {row.candidate for row in found.rows} == {"narrow"}
    assert "left out: far: Can't download far." in str(found)
    with pytest.raises(DownloadError, match="No backbone is left: far: Can't download far"):
        tlkit.probe_backbones(both[:1], _stripes(60))


def test_files_are_read_again_at_each_size_and_other_images_are_not() -> None:
    read = []

    def reader(size):
        def image(number):
            read.append(size)
            return np.full((*size, 3), number % 251, "uint8")

        return image, lambda numbers: None

    lazy = LazyImages(reader((8, 8))[0], np.arange(60), shape=(8, 8, 3), at_size=reader)
    data = replace(_stripes(60), images=lazy)
    inputs = keras.Input((12, 12, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="all")(inputs))
    found = tlkit.probe_backbones([BackboneCandidate(backbone=backbone, pixels=(0, 1))], data)
    assert set(read) == {(12, 12)}
    assert len(read) == 60  # once, for the probe and for the times
    assert found.rows[0].image_size == 12
    assert _stripes(60).at_size(99).images.shape == (60, 16, 16, 3)


def test_a_depth_that_another_of_the_same_network_beats_is_not_timed(
    search: BackboneSearch,
) -> None:
    assert {row.layer for row in search.rows} == {"early"}  # the late layer is deeper and worse


def test_candidates_are_compared_once() -> None:
    names = candidates.read_candidates(["starter", "starter", "mobilenet"], "imagenet")
    assert [str(each) for each in names] == ["starter", "mobilenet"]


def test_a_front_has_no_row_that_is_not_more_accurate() -> None:
    front = search_result.pareto_front(ROWS, search_result.milliseconds)
    for row in ROWS:
        beaten = [
            o for o in ROWS if o.accuracy >= row.accuracy and o.milliseconds <= row.milliseconds
        ]
        assert (row in front) == (beaten == [row])
