from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Phase, SolvedHead, train_phase
from tlkit.errors import ConfigError
from tlkit.models.inspection import probabilities_of

DATA = make_stripes(120, contrast=60)
WHITE = np.full((5, 9, 9, 1), 255, "uint8")


@pytest.fixture(scope="module")
def solved() -> keras.Model:
    """A classifier with a solved head."""
    inputs = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    maps = keras.layers.Conv2D(6, 3, 2, activation="relu")(inputs)
    model = small_classifier(keras.Model(inputs, maps), pooling=2)
    train_phase(model, SolvedHead(), DATA, seed=0, verbose=False)
    return model


def test_a_solved_head_stores_what_fit_ood_would(solved: keras.Model) -> None:
    scores = tlkit.ood_scores(solved, DATA[0])
    found = tlkit.fit_ood(solved, DATA)
    assert (found.num_images, found.num_classes) == (120, 3)
    assert found.num_bytes < 100_000
    np.testing.assert_allclose(tlkit.ood_scores(solved, DATA[0]), scores, atol=0.02)
    assert (scores <= 0.95).mean() > 0.9
    assert (tlkit.ood_scores(solved, WHITE) == 1).all()
    assert "held out, have a score of at most 0.95" in str(found)


def test_a_saved_model_scores_the_same_and_a_trained_one_no_more(
    solved: keras.Model, tmp_path: Path
) -> None:
    file = tlkit.save(solved, tmp_path / "model.keras")
    again = tlkit.load(file)
    np.testing.assert_array_equal(
        tlkit.ood_scores(again, DATA[0]), tlkit.ood_scores(solved, DATA[0])
    )
    train_phase(again, Phase(), DATA, verbose=False)
    with pytest.raises(ConfigError, match=r"Call tlkit.fit_ood\(model, training_data\) once"):
        tlkit.ood_scores(again, DATA[0])


def test_validation_images_set_the_threshold(solved: keras.Model) -> None:
    other = DATA[0] // 2 + 60, DATA[1]
    tlkit.fit_ood(solved, DATA, validation_data=other)
    kept = (tlkit.ood_scores(solved, other[0]) <= 0.95).mean()
    assert kept == pytest.approx(0.95, abs=0.01)
    tlkit.fit_ood(solved, DATA)


def test_files_are_scored_in_the_pass_that_predicts(solved: keras.Model, tmp_path: Path) -> None:
    for name, image in {"stripe": DATA[0][0], "white": WHITE[0]}.items():
        Image.fromarray(image[..., 0]).save(tmp_path / f"{name}.png")
    again = tlkit.load(tlkit.save(solved, tmp_path / "model.keras"))
    stripe, white = tlkit.evaluation.predict_files(again, tmp_path)
    images = np.stack([DATA[0][0], WHITE[0]])
    np.testing.assert_allclose(
        [stripe.ood_score, white.ood_score], tlkit.ood_scores(solved, images), atol=1e-6
    )
    assert stripe.classes[0][1] == pytest.approx(tlkit.predict(solved, images)[0].max(), abs=1e-5)
    assert "none of these? score 1.00: more unlike than all of the training images" in str(white)
    assert white.to_dict()["ood_score"] == 1
    if stripe.ood_score is not None and stripe.ood_score <= 0.95:
        assert "none of these" not in str(stripe)


def test_a_classifier_without_a_score_predicts_files_without(
    small_backbone: keras.Model, tmp_path: Path
) -> None:
    Image.fromarray(WHITE[0][..., 0]).save(tmp_path / "white.png")
    [found] = tlkit.evaluation.predict_files(small_classifier(small_backbone), tmp_path)
    assert found.ood_score is None
    assert set(found.to_dict()) == {"path", "classes"}


def test_stored_arrays_are_no_weights(solved: keras.Model) -> None:
    assert probabilities_of(solved).weights == []
    assert "stored" not in probabilities_of(solved).get_config()
