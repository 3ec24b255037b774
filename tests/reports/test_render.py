import base64
import functools
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score
from tests.reading import read_markdown, shown

import tlkit
from tlkit import freezing
from tlkit.errors import ConfigError, DataError, MissingExtraError
from tlkit.evaluation.metrics import compute_metrics
from tlkit.experiments import run_folder
from tlkit.reports import images as drawing
from tlkit.reports import limitations, render, sections
from tlkit.reports.render import PhaseFacts, ReportFacts

NAMES = ("<b>rose</b> & co", 'tu"lip', "a_b*c|d", "line\nbreak", "Gänseblümchen")
SECTIONS = [
    "Abstract",
    "Data",
    "Preprocessing",
    "Model",
    "Training",
    "Results",
    "Visualisations",
    "Limits",
    "How to reproduce",
]


@functools.cache
def _outcome(
    *, count: int = 400, sure: float = 2.0, seed: int = 0, names: tuple[str, ...] = NAMES
) -> tuple[np.ndarray, np.ndarray, tlkit.evaluation.Evaluation]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(names), count)
    logits = random.normal(size=(count, len(names)))
    logits[np.arange(count), labels] += sure
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities, compute_metrics(labels, probabilities, class_names=names)


def _phase(name: str = "head", **change: object) -> PhaseFacts:
    values: dict[str, object] = {
        "epochs": 4,
        "best_epoch": 4,
        "learning_rate": "0.003",
        "frozen_layers": 154,
        "trained_layers": 0,
        "seconds": 61.0,
        "moved": 2,
        "untouched": 260,
        "last": {"loss": 0.25, "accuracy": 0.875, "val_accuracy": 0.8125},
    }
    return PhaseFacts(name=name, **{**values, **change})


def _facts(found: tlkit.evaluation.Evaluation | None = None, **change: object) -> ReportFacts:
    found = _outcome()[2] if found is None else found
    tested = {score.name: score.support for score in found.classes}
    values: dict[str, object] = {
        "title": "Flowers <in> & out",
        "source": "a folder of flowers",
        "counts": {"train": dict.fromkeys(found.class_names, 300), "test": tested},
        "preprocessing": ["Images are resized to 160 x 160 pixels (bilinear)."],
        "backbone": "mobilenet_v2",
        "weights": "imagenet",
        "model": ["The head reads the backbone after 'block_13_expand_relu'."],
        "phases": [_phase(), _phase("fine_tune", moved=104, untouched=0, trained_layers=54)],
        "evaluation": found,
        "figures": {name: Figure(figsize=(1, 1)) for name in ("curves", "predictions")},
        "environment": {"keras": "3.15.1", "machine": "Linux x86_64, 2 cores"},
        "command": "tlkit train <flowers> && echo done\n  --seed 3",
        "seed": 3,
        "seconds": 725.0,
        "unreadable": [("roses/<broken>.jpg", "cannot identify & read")],
        "duplicates": [],
    }
    return ReportFacts(**{**values, **change})


def _text(facts: ReportFacts) -> str:
    return "\n".join(shown(render.html(facts)))


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d,.]*\d|\d", text)


def test_every_number_of_the_abstract_is_one_of_the_run() -> None:
    """Each is calculated again from the labels and the probabilities, by scikit-learn."""
    labels, probabilities, found = _outcome(names=("a", "b", "c", "d", "e"))
    facts = _facts(found)
    called = probabilities.argmax(axis=1)
    low, high = found.accuracy_interval
    recalls = recall_score(labels, called, average=None)
    shares = [
        accuracy_score(labels, called),
        np.bincount(labels).max() / 400,
        f1_score(labels, called, average="macro"),
        found.calibration_error,
        recalls.min(),
    ]
    expected = [f"{100 * share:.1f}" for share in shares]
    expected += [f"{100 * low:.1f}", f"{100 * high:.1f}", f"{log_loss(labels, probabilities):.4f}"]
    expected += ["5", "2", "2", "1,500", "400", "95", "1", "12", "5"]  # classes, v2, phases, ...
    assert sorted(_numbers(sections.abstract(facts))) == sorted(expected)
    weakest = "abcde"[recalls.argmin()]
    assert f"the lowest recall is {weakest} (" in sections.abstract(facts)
    assert "12 min 5 s" in sections.abstract(facts)


def test_markdown_and_html_say_the_same() -> None:
    facts = _facts(_outcome(count=60, sure=1.0)[2], joules=5e4, weights=None)
    assert shown(render.html(facts)) == read_markdown(render.markdown(facts))


def test_the_order_is_that_of_a_paper() -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", render.html(_facts()))
    assert headings == SECTIONS
    assert re.findall(r"^## (.*)$", render.markdown(_facts()), flags=re.M) == SECTIONS


def test_the_page_loads_nothing() -> None:
    page = render.html(_facts())
    assert not re.search(r"<script|<link|<iframe|<object|@import|url\(|\son\w+=", page, flags=re.I)
    sources = re.findall(r'(?:src|srcset|href|data|poster|action)="([^"]*)"', page)
    assert {source[:5] for source in sources if not source.startswith("#")} == {"data:"}
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_the_page_holds_its_figures() -> None:
    images = re.findall(r'src="data:image/png;base64,([^"]*)"', render.html(_facts()))
    assert len(images) == 4  # two figures, by day and by night
    for data in images:
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (150, 150)


def test_text_of_others_stays_text() -> None:
    page = render.html(_facts())
    assert "<b>rose" not in page
    assert "<broken>" not in page
    assert "&lt;b&gt;rose&lt;/b&gt; &amp; co" in page
    assert "line break" in page
    assert "tlkit train &lt;flowers&gt; &amp;&amp; echo done\n  --seed 3" in page
    assert MarkdownIt().render(render.markdown(_facts())).count("rose</b>") == 0


def test_the_data_section_counts_every_class_and_part() -> None:
    facts = _facts()
    for index, score in enumerate(facts.evaluation.classes):
        row = [" ".join(NAMES[index].split()), "300", str(score.support)]
        at = "\n".join(row)
        assert at in _text(facts)
    assert "all classes\n1,500\n400" in _text(facts)
    assert "roses/<broken>.jpg\ncannot identify & read" in _text(facts)


def test_the_results_give_each_measure_with_its_interval() -> None:
    found = _outcome()[2]
    lines = _text(_facts()).splitlines()
    start = lines.index("measure")
    rows = [lines[at : at + 3] for at in range(start, start + 18, 3)]

    def share(name: str, value: float, bounds: tuple[float, float] | None) -> list[str]:
        said = "-" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"
        return [name, f"{100 * value:.1f} %", said]

    low, high = found.intervals["loss"]
    assert rows == [
        ["measure", "value", "95 % interval"],
        share("accuracy", found.accuracy, found.accuracy_interval),
        share(
            "balanced accuracy (mean recall)",
            found.balanced_accuracy,
            found.intervals["balanced_accuracy"],
        ),
        share("macro-averaged F1", found.macro_f1, found.intervals["macro_f1"]),
        share("top-3 accuracy", found.top_k[3], None),
        ["loss (mean cross-entropy)", f"{found.loss:.4f}", f"{low:.4f} to {high:.4f}"],
    ]
    for score in found.classes:
        shares = (f"{100 * value:.1f} %" for value in (score.precision, score.recall, score.f1))
        assert "\n".join([" ".join(score.name.split()), *shares, str(score.support)]) in _text(
            _facts()
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unreadable": None}, "The images were not read from files."),
        ({"unreadable": []}, "Every file could be read."),
        ({"unreadable": [(f"{n}.jpg", "empty") for n in range(104)]}, "There are 4 more."),
        ({"duplicates": None}, "The data were not searched for duplicate images."),
        ({"duplicates": []}, "No two images are identical or nearly identical."),
        ({"duplicates": [("a", "b")]}, "they were kept in one part"),
        ({"joules": None}, "Energy: not measured."),
        ({"joules": 7.2e6}, "Energy: 2 kWh by the processor's own counter"),
        ({"captions": {"predictions": "What it says."}}, "What it says."),
        ({"test_source": "another camera"}, "The test images come from another camera."),
        ({"phases": [_phase(best_epoch=0)]}, "those before the phase"),
        ({}, "2 weight tensors changed; all 260 that were frozen in the backbone are unchanged."),
        ({}, "104 weight tensors changed; no weight of the backbone was frozen."),
        ({}, "validation accuracy, last epoch\n0.8125"),
    ],
)
def test_what_was_found_is_said(change: dict[str, object], said: str) -> None:
    assert said in _text(_facts(**change))


def _limits(facts: ReportFacts) -> str:
    return "\n".join(limitations.limits(facts))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (_facts(_outcome(count=60)[2]), "The test set is small"),
        (_facts(_outcome(count=60)[2]), "Fewer than 30 test images"),
        (_facts(_outcome(sure=0.0)[2]), "not shown to be better than always predicting"),
        (_facts(weights="starter"), "starter weights, those of a small network"),
        (_facts(weights=None), "nothing was transferred"),
        (_facts(duplicates=None), "The data were not searched for images that occur in both"),
        (_facts(), "1 file or folder was left out or replaced"),
        (_facts(), "come from the same source as the training images, a folder of flowers"),
    ],
)
def test_a_limit_follows_from_the_facts(facts: ReportFacts, said: str) -> None:
    clean = _facts(
        _outcome(count=4000, sure=9.0)[2],
        unreadable=[],
        test_source="elsewhere",
        weights="imagenet",
    )
    assert said in _limits(facts)
    assert said not in _limits(clean)
    assert "with seed 3" in _limits(clean)


def test_weak_classes_and_the_commonest_mistake_are_named() -> None:
    confusion = np.array([[50, 0, 0], [20, 30, 0], [1, 0, 49]])
    labels = np.repeat([0, 1, 2], confusion.sum(axis=1))
    called = np.concatenate([np.repeat([0, 1, 2], row) for row in confusion])
    found = compute_metrics(labels, np.eye(3)[called] * 0.9 + 0.1 / 3, class_names=["x", "y", "z"])
    said = _limits(_facts(found))
    assert "Recall below 80 %: y (60.0 %)." in said
    assert "The most frequent error is to take y for x: 20 images, 40.0 % of y." in said
    assert "y\nx\n20\n40.0 %" in _text(_facts(found))
    assert "the expected calibration error" in sections.abstract(_facts(found))


def test_a_class_without_a_test_image_is_not_called_weak() -> None:
    found = compute_metrics(np.array([0, 0, 1]), np.eye(3)[[0, 0, 1]], class_names=["x", "y", "z"])
    facts = _facts(found)
    assert "Nothing is known about z: the test set has no such image." in _limits(facts)
    assert "Recall below" not in _limits(facts)
    assert "No test image was misclassified." in _text(facts)
    assert "lowest recall is x" in sections.abstract(facts)


def test_the_confusion_is_a_table_where_there_is_no_figure() -> None:
    rows = _outcome()[2].confusion
    first = "\n".join(["<b>rose</b> & co", *map(str, rows[0])])
    assert first in _text(_facts())
    figures = {"confusion": Figure(figsize=(1, 1))}
    assert first not in _text(_facts(figures=figures))
    assert "](confusion.png)" in render.markdown(_facts(figures=figures))
    assert "Visualisations" not in _text(_facts(figures=figures))


def test_without_a_command_there_is_no_empty_line_to_type() -> None:
    assert "<pre>" in render.html(_facts())
    assert "<pre>" not in render.html(_facts(command=""))


def test_facts_that_disagree_are_refused() -> None:
    facts = _facts()
    with pytest.raises(DataError, match="`counts` must hold what was tested under 'test'"):
        replace(facts, counts={**facts.counts, "test": dict.fromkeys(NAMES, 1)})
    with pytest.raises(ConfigError, match="`figures` must be named by letters.*got '../x'"):
        replace(facts, figures={"../x": Figure()})


@pytest.mark.parametrize("title", ["Flowers", "two\nlines\x1b[31m"])
def test_the_summary_has_five_lines(title: str) -> None:
    facts = _facts(title=title, source="a\nfolder")
    lines = render.summary(facts).splitlines()
    assert len(lines) == 5
    assert "\x1b" not in lines[0]
    found = facts.evaluation
    assert f"Accuracy {100 * found.accuracy:.1f} % on 400 test images" in lines[2]
    assert set(_numbers(lines[2])) <= set(_numbers(sections.abstract(facts)))


def test_the_card_has_the_metadata_of_a_hub() -> None:
    hub = pytest.importorskip("huggingface_hub")
    facts = _facts(license="mit")
    about = hub.ModelCard(render.card(facts)).data
    assert (about.license, about.library_name) == ("mit", "keras")
    assert about.pipeline_tag == "image-classification"
    figures = {result.metric_type: result.metric_value for result in about.eval_results}
    assert figures == {"accuracy": facts.evaluation.accuracy, "f1": facts.evaluation.macro_f1}
    assert {result.dataset_name for result in about.eval_results} == {"a folder of flowers"}


def test_the_card_says_first_what_the_model_is_for_and_where_it_ends() -> None:
    pytest.importorskip("huggingface_hub")
    headings = re.findall(r"^## (.*)$", render.card(_facts()), flags=re.M)
    assert headings[:3] == ["Model description", "How to use", "Limits"]
    assert set(headings[3:]) == set(SECTIONS) - {"Abstract", "Limits", "Visualisations"}


def test_a_card_without_the_hub_is_the_command_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[card\]'"):
        render.card(_facts())


def test_the_files_lie_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    facts = _facts()
    render.write(tmp_path, facts)
    names = ["curves.png", "other.txt", "predictions.png", "report.html", "report.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "summary.txt"]
    assert (tmp_path / "report.md").read_text("utf-8") == render.markdown(facts)
    assert (tmp_path / "summary.txt").read_text("utf-8") == render.summary(facts)
    links = re.findall(r"\]\((.*?)\)", render.markdown(facts))
    assert len(links) == 2
    assert all((tmp_path / link).is_file() for link in links)


def test_with_the_hub_there_is_a_card_too(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    render.write(tmp_path / "new" / "folder", _facts())
    assert (tmp_path / "new" / "folder" / "model_card.md").read_text("utf-8").startswith("---\n")


def test_a_figure_that_fails_leaves_the_old_report(tmp_path: Path) -> None:
    class Broken(Figure):
        def savefig(self, *arguments: object, **settings: object) -> None:
            raise OSError("No space left on device")

    (tmp_path / "report.html").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        render.write(tmp_path, _facts(figures={"broken": Broken()}))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("report.html", "old")
    ]


@pytest.mark.parametrize(
    ("phase", "rate"),
    [
        (tlkit.Phase(epochs=2, learning_rate=0.01), "0.01"),
        (tlkit.SolvedHead(), "none: the head was solved"),
        (tlkit.Phase(epochs=3, learning_rate=0.01, schedule="cosine"), r"0\.00\d+ after the first"),
    ],
)
def test_a_phase_is_told_from_its_run(
    small_backbone: keras.Model, phase: tlkit.Phase, rate: str
) -> None:
    model = tlkit.build_classifier(small_backbone, 2, input_shape=(9, 9, 1), pixels=(0, 1))
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (24, 9, 9, 1), "uint8"), np.arange(24) % 2
    run = tlkit.train_phase(model, phase, pair, name="head", seed=0, verbose=False)
    told = render.phase_facts(run, freezing.plan(small_backbone, phase.freeze))
    assert re.match(rate, told.learning_rate)
    assert (told.frozen_layers, told.trained_layers) == (len(small_backbone.layers), 0)
    assert (told.moved, told.untouched) == (2, len(small_backbone.weights))
    assert told.last["loss"] == run.history["loss"][-1]
    assert "learning_rate" not in told.last


def test_a_classifier_tells_its_preprocessing_and_its_parts(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(
        small_backbone,
        3,
        input_shape=(9, 9, 1),
        value_range=(0, 16),
        pixels=tlkit.models.backbones.get("resnet50").pixels,
        features="block_1_add",
    )
    assert render.preprocessing(model) == (
        "Images are resized to 16 x 16 pixels (bilinear).",
        "Values from 0 to 16 become values from 0 to 255.",
        "Grey is copied to three equal channels.",
        "Each channel is shifted and scaled as the backbone's weights expect.",
        "All of this is part of the model: its file takes images of 9 x 9 pixels.",
    )
    backbone = tlkit.models.backbone_of(model)
    assert render.model_lines(model) == (
        "The head reads the backbone after 'block_1_add' and has 27 weights.",
        "The backbone is kept as far as the head reads it; any layers of the original network "
        "beyond that are not part of the classifier. So it has "
        f"{len(backbone.layers)} layers with {backbone.count_params():,} weights here.",
        "The output is a probability for each of 3 classes (softmax).",
    )


def test_a_run_is_written_with_its_report(small_backbone: keras.Model, tmp_path: Path) -> None:
    model = tlkit.build_classifier(small_backbone, 2, input_shape=(9, 9, 1), pixels=(0, 1))
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (24, 9, 9, 1), "uint8"), np.arange(24) % 2
    run = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=2), seed=0).fit(model, pair, verbose=False)
    found = tlkit.evaluate(model, pair)
    folder = run_folder.save_run(
        tmp_path / "run",
        model=model,
        run=run,
        evaluation=found,
        figures={},
        about="a test",
        config={"seed": 0},
        report=_facts(found),
    )
    there = {path.name for path in folder.iterdir()}
    assert {"model.keras", "metrics.json", "report.html", "report.md", "curves.png"} <= there


def _solved() -> PhaseFacts:
    last = {"loss": 0.11, "accuracy": 0.98, "val_accuracy": 0.9, "penalty": 0.009}
    rate = "none: the head was solved"
    return _phase(epochs=1, best_epoch=1, learning_rate=rate, last=last, solved=True)


def test_a_solved_head_has_no_epochs() -> None:
    said = _text(_facts(phases=[_solved()]))
    for words in (
        "computed in one step from the features, without epochs",
        "loss on training images\n0.11",
        "accuracy on validation images\n0.9",
        "L2 penalty of the head\n0.009",
    ):
        assert words in said
    assert "last epoch" not in said
    assert "weights kept" not in said
    assert "epochs\n1" not in said
    assert "weights kept\nepoch 4" in _text(_facts())


def _sure(confidence: float, count: int = 400) -> tlkit.evaluation.Evaluation:
    """Four classes, of which 70 % are right, all predicted with the same confidence."""
    labels = np.arange(count) % 4
    called = np.where(np.arange(count) % 10 < 7, labels, (labels + 1) % 4)
    rows = np.full((count, 4), (1 - confidence) / 3)
    rows[np.arange(count), called] = confidence
    return compute_metrics(labels, rows, class_names="abcd")


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (0.72, ""),
        (0.76, "should be taken as approximate: it differs from the share that are correct by 6.0"),
        (0.64, "by 6.0 percentage points on average (the classifier tends to be underconfident)"),
        (0.95, "should not be read as probabilities of being correct: it differs"),
        (0.95, "by 25.0 percentage points on average (the classifier tends to be overconfident)"),
    ],
)
def test_what_is_said_of_the_probabilities_is_in_proportion(confidence: float, said: str) -> None:
    limits = _limits(_facts(_sure(confidence)))
    assert said in limits
    assert ("confidence of its predictions" in limits) == bool(said)


def test_an_image_with_two_labels_is_among_the_limits() -> None:
    pairs = [(f"a/{n}.jpg", f"b/{n}.jpg") for n in range(7)]
    said = _limits(_facts(duplicates=pairs, two_labels=pairs))
    assert "7 pairs of files are the same image under two labels" in said
    assert "a/0.jpg = b/0.jpg, a/1.jpg = b/1.jpg" in said
    assert "and 2 more" in said
    assert "under two labels" not in _limits(_facts(duplicates=pairs))


def test_what_could_not_be_drawn_is_said() -> None:
    facts = _facts(left_out={"grad_cam": "the backbone gives no maps.", "features": "too many"})
    assert "There is no Grad-CAM: the backbone gives no maps." in _text(facts)
    assert "There is no map of the features: too many." in _text(facts)
    assert "Visualisations" in _text(replace(facts, figures={}))


def test_a_class_without_a_test_image_has_dashes() -> None:
    found = compute_metrics(np.array([0, 0, 1]), np.eye(3)[[0, 1, 1]], class_names=["x", "y", "z"])
    assert "y\n50.0 %\n100.0 %\n66.7 %\n1" in _text(_facts(found))
    assert "z\n-\n-\n-\n0" in _text(_facts(found))


def test_decimals_are_as_many_as_the_images_support() -> None:
    many = _outcome(count=12_000)[2]
    assert f"{100 * many.accuracy:.2f} %" in sections.abstract(_facts(many))
    assert not re.search(r"\d\.\d\d+ %", _text(_facts()))


def test_markdown_has_no_needless_marks() -> None:
    assert "\\." not in render.markdown(_facts())
    assert "\\-" not in render.markdown(_facts())
    accuracy = f"{100 * _outcome()[2].accuracy:.1f} %"
    assert f"| accuracy | {accuracy} |" in render.markdown(_facts())


def test_a_dark_page_has_dark_figures_whose_photos_stay_as_they_are() -> None:
    figure = Figure(figsize=(2, 1))
    left, right = figure.subplots(1, 2)
    left.imshow(np.full((4, 4, 3), [200, 30, 60], "uint8"))
    right.plot([0, 1], color="black")
    page = render.html(_facts(figures={"curves": figure}))
    [(light, dark)] = re.findall(
        r'<img class="day" [^>]*png;base64,([^"]*)"><img class="night" [^>]*jpeg;base64,([^"]*)">',
        page,
    )
    night, day = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        for data in (dark, light)
    )
    assert night.shape == day.shape == (150, 300, 3)
    np.testing.assert_allclose(night[0, 0], [0x15, 0x17, 0x1B], atol=2)  # the page's paper
    inside = left.get_position()
    row, column = round(150 * (1 - inside.y0 - inside.height / 2)), round(300 * inside.x0 + 40)
    np.testing.assert_allclose(night[row, column], [200, 30, 60], atol=12)
    assert night[:, 180:].max() > 200  # the black line


def test_a_figure_without_photos_keeps_its_hues_on_a_dark_page() -> None:
    figure = Figure(figsize=(1, 1), facecolor="#000080")
    turned = Image.open(io.BytesIO(drawing.dark(figure, drawing.light(figure)))).convert("RGB")
    red, green, blue = turned.getpixel((5, 5))
    assert blue > 250
    assert 100 < red < 150 and 100 < green < 150


@pytest.mark.parametrize("points", [0.8, 3.0])
def test_of_a_photo_on_a_dark_page_the_frame_alone_is_turned(points: float) -> None:
    figure = Figure(figsize=(1, 1))
    panel = figure.add_axes((0.2, 0.2, 0.6, 0.6), xticks=[], yticks=[])
    panel.imshow(np.zeros((4, 4, 3), "uint8"), aspect="auto")
    for edge in panel.spines.values():
        edge.set(color="0.8", linewidth=points)
    picture = Image.open(io.BytesIO(drawing.dark(figure, drawing.light(figure)))).convert("RGB")
    across = np.asarray(picture).mean(axis=-1)[75]
    half = points / 2 * 150 / 72
    assert across[30 + round(half) + 4 : 120 - round(half) - 4].max() < 20  # black stays black
