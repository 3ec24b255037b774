import json
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from benchmarks import pages
from tools.starter import __main__ as making
from tools.starter import characters, forms, pack, pictures, shapes, textures

from tlkit.models import starter

ROOT = Path(__file__).parent.parent.parent
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> forms.Forms:
    """A few letters by matplotlib's own fonts, and every shape twice."""
    folder = tmp_path_factory.mktemp("fonts")
    for name in ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono-Bold.ttf"):
        (folder / name).write_bytes((FONTS / name).read_bytes())
    (folder / "broken.ttf").write_bytes(b"no font")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters, "fonts_per_character", lambda: dict.fromkeys("ABxX7", 3))
        patch.setattr(forms, "MIN_FONTS", 3)
        patch.setattr(shapes, "COPIES", 2)
        return forms.make(folder, seed=0)


def _taken(made: forms.Forms, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, len(made.label), count)


def test_every_font_draws_every_letter_and_look_alikes_share_a_form(made: forms.Forms) -> None:
    counts = dict(zip(made.names, np.bincount(made.label), strict=True))
    assert {name: counts[name] for name in "ABX7"} == {"A": 3, "B": 3, "X": 6, "7": 3}
    assert "x" not in counts
    assert len(made.fonts) == 3
    assert counts["heart"] == counts["silhouette 63"] == 2


def test_the_distance_is_measured_to_the_edge() -> None:
    mask = np.zeros((forms.SIDE, forms.SIDE), bool)
    mask[:, 20:40] = True
    distance = forms._distance(mask)[5] / forms.STEPS
    columns = np.arange(forms.SIDE)
    expected = 10 - np.abs(columns - 29.5)  # from the middle of the bar, 20 pixels wide
    near = np.abs(expected) < 20
    np.testing.assert_allclose(distance[near], expected[near], atol=0.5 / forms.STEPS + 1e-6)


def test_a_tame_picture_is_the_form_white_on_black(made: forms.Forms) -> None:
    arrow = made.names.index("arrow")
    taken = np.repeat(np.flatnonzero(made.label == arrow), 10)
    batch = pictures.render(made, taken, 64, np.random.default_rng(0), hard=0)
    assert batch.form.tolist() == [arrow] * len(taken)
    np.testing.assert_allclose(batch.pictures.max((1, 2, 3)), 1, atol=1e-6)
    np.testing.assert_allclose(batch.pictures.min((1, 2, 3)), -1, atol=1e-6)
    assert not batch.fill.any()
    assert not batch.ground.any()
    np.testing.assert_array_equal(batch.pictures[..., 0], batch.pictures[..., 2])
    for picture, drawn in zip(batch.pictures[..., 0] > 0, made.distance[taken] > 0, strict=True):
        for turned in (drawn[:, ::-1], drawn.T):  # smaller, moved and bent, but not turned
            assert (picture & drawn).sum() > (picture & turned).sum()
        assert picture[0, 0] == drawn[0, 0] == False  # noqa: E712  # arrays


@pytest.mark.parametrize("side", [32, 48])
def test_pictures_are_in_range_differ_and_repeat_by_seed(made: forms.Forms, side: int) -> None:
    taken = _taken(made, 60)
    first, again, other = (
        pictures.render(made, taken, side, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first.pictures.shape == (60, side, side, 3)
    assert first.pictures.dtype == "float32"
    assert first.pictures.min() >= -1
    assert first.pictures.max() <= 1
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert (first.pictures != other.pictures).any((1, 2, 3)).all()
    assert first.pictures.std((1, 2, 3)).min() > 0.005


def test_the_labels_describe_the_pictures(made: forms.Forms) -> None:
    taken = _taken(made, 2000)
    batch = pictures.render(made, taken, 32, np.random.default_rng(5))
    bare = batch.form == len(made.names)
    assert 0.03 < bare.mean() < 0.1
    np.testing.assert_array_equal(batch.form[~bare], made.label[taken][~bare])
    assert set(batch.ground) == set(batch.fill) == set(range(len(textures.KINDS)))
    assert not batch.fill[bare].any()


@pytest.mark.parametrize("kind", range(1, len(textures.KINDS)))
def test_a_texture_is_in_range_and_not_flat(kind: int) -> None:
    made = textures.make(np.array([kind, 0, kind]), 32, np.random.default_rng(0))
    assert made.min() >= 0
    assert made.max() <= 1 + 1e-6
    assert made[[0, 2]].std((1, 2)).min() > 0.02
    assert not made[1].any()
    assert (made[0] != made[2]).any()


def test_a_sheet_shows_the_pictures_row_by_row() -> None:
    shades = np.array([0, 42, 85, 128, 170, 255, 9]) / 127.5 - 1
    sheet = np.asarray(pictures.sheet(np.tile(shades[:, None, None, None], (2, 2, 3)), columns=3))
    assert sheet.shape == (4, 6, 3)  # two rows of three; the seventh is left out
    np.testing.assert_array_equal(sheet[::2, ::2, 0], [[0, 42, 85], [128, 170, 255]])


def test_enlarging_after_shrinking_keeps_the_mean_and_a_linear_ramp() -> None:
    shrink, enlarge = pictures._averaging_matrix(32, 8), pictures._enlarging_matrix(8, 32)
    np.testing.assert_allclose(shrink.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(enlarge.sum(1), 1, rtol=1e-6)
    ramp = np.arange(32.0)
    np.testing.assert_allclose((enlarge @ shrink @ ramp)[2:-2], ramp[2:-2], atol=1e-4)
    np.testing.assert_allclose(shrink @ ramp, ramp.reshape(8, 4).mean(1), rtol=1e-6)


def test_only_coarse_pictures_are_shrunk_and_enlarged() -> None:
    ramp = np.tile(np.arange(32, dtype="float32")[:, None, None], (3, 1, 32, 3))
    given = ramp.copy()
    given[0, ::2] += 1  # fine stripes, that 8 pixels can't hold
    given[1] = given[0]
    done = pictures._shrink_and_enlarge(given.copy(), np.array([32, 8, 8]), 32)
    np.testing.assert_array_equal(done[0], given[0])
    np.testing.assert_allclose(done[1, 2:-2], ramp[1, 2:-2] + 0.5, atol=1e-4)
    np.testing.assert_allclose(done[2, 2:-2], ramp[2, 2:-2], atol=1e-4)


def test_a_batch_is_the_same_on_every_access(made: forms.Forms) -> None:
    batches = making.Pictures(made, batches=100, sides=making.SIDES, seed=0, growing=True)
    first, labels = batches[1]
    again, _ = batches[1]
    assert first.shape == (113, 48, 48, 3)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(labels["form"], labels["block_5_add"])
    assert batches[0][0].shape == (256, 32, 32, 3)
    assert (batches[0][0] != batches[3][0]).any()


def test_pictures_grow_harder_as_the_card_says(made: forms.Forms) -> None:
    growing = making.Pictures(made, batches=100, sides=(32,), seed=0, growing=True)
    assert [round(growing._hard(step), 3) for step in (0, 3, 18, 33, 99)] == [0, 0, 0.45, 0.9, 0.9]
    assert making.Pictures(made, batches=100, sides=(32,), seed=0)._hard(0) == 0.9
    assert [side for side in making.SIDES if side > 32] == [48, 64]
    assert len(making.SIDES) == 8


def test_every_head_names_its_kind() -> None:
    backbone = keras.applications.MobileNetV2(
        (None, None, 3), alpha=0.35, include_top=False, weights=None
    )
    model = making._classifier(backbone, 7)
    sizes = {name: head.shape[-1] for name, head in model.output.items()}
    kinds = len(textures.KINDS)
    assert sizes == {"form": 7, "fill": kinds, "ground": kinds, **dict.fromkeys(making.TAPS, 7)}


def test_the_card_is_its_template_with_the_facts_of_the_training() -> None:
    made = json.loads((ROOT / "tools" / "starter" / "made.json").read_text("utf-8"))
    assert starter.card() == pack.fill_card(made)
    assert f"{made['fonts']:,} font files" in starter.card()
    assert f"{made['scores']['form_accuracy']:.1%} for the form" in starter.card()


@pytest.mark.parametrize(
    ("page", "fits"),
    [
        ("a\n<!-- results -->\nold\n<!-- end of results -->\nb\n", True),
        ("a\n<!-- results -->\nold\n", False),
        ("<!-- end of results -->\n<!-- results -->\n", False),
        ("a\n", False),
    ],
)
def test_a_table_replaces_what_is_between_the_marks_of_a_page(
    page: str, fits: bool, tmp_path: Path
) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    if fits:
        pages.insert(path, "new\n")
        assert path.read_text() == page.replace("old\n", "\nnew\n\n")
    else:
        with pytest.raises(ValueError, match="once each"):
            pages.insert(path, "new")
        assert path.read_text() == page


def test_forms_with_more_drawings_are_drawn_less_than_proportionally() -> None:
    label = np.array([0] * 4 + [1] * 16)
    one = forms.Forms(distance=np.zeros((20, 2, 2)), label=label, names=("a", "b"), fonts=())
    often = pictures.weights(one)
    assert often[label == 1].sum() == pytest.approx(2 * often[label == 0].sum())
    assert often.sum() == pytest.approx(1)


def test_the_weights_are_packed_where_the_package_reads_them() -> None:
    package = Path(starter.__file__).parent
    assert (package / "starter.py").read_text("utf-8").count("_SHA256 = ") == 1
    assert (package / "weights" / "starter.npz").exists()
    sources = ROOT / "src" / "tlkit" / "models"  # the tests may run on an installed package
    assert sources == pack.MODELS
    assert sources.joinpath("starter.py").is_file() or not (ROOT / "src").exists()


def test_packing_rounds_to_float16_and_nothing_else(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(
        (None, None, 3), alpha=0.35, include_top=False, weights=None
    )
    random = np.random.default_rng(0)
    backbone.set_weights([random.normal(size=weight.shape) for weight in backbone.get_weights()])
    backbone.save_weights(tmp_path / "some.weights.h5")
    content = pack.pack_weights(tmp_path / "some.weights.h5")
    assert content == pack.pack_weights(tmp_path / "some.weights.h5")  # so the same hash
    (tmp_path / "some.npz").write_bytes(content)
    with np.load(tmp_path / "some.npz") as kept:
        for layer in backbone.layers:
            for variable in layer.weights:
                wanted = np.asarray(variable).astype("float16")
                np.testing.assert_array_equal(kept[f"{layer.name}/{variable.name}"], wanted)
