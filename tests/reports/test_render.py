import base64
import io
import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score
from tests.reading import Tags, read_markdown, shown
from tests.reports.example import NAMES, facts, model, outcome, phase, predicted
from tests.reports.test_escaping import HARMFUL
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.errors import MissingExtraError
from tlkit.evaluation import Estimate
from tlkit.evaluation.candidates import Candidate, Choice
from tlkit.evaluation.prediction_sets import MeasuredSets
from tlkit.experiments import run_folder
from tlkit.reports import ReportFacts, escaping, images, render

SECTIONS = [
    *("Abstract", "Visualisations", "Results", "Discussion", "Limitations", "Data"),
    *("Preprocessing", "Model", "Training", "Related work", "How to use"),
    *("How to reproduce", "References"),
]
SOLVED = phase(
    learning_rates=None,
    metrics={"loss": 0.11, "accuracy": 0.98, "val_accuracy": 0.9, "penalty": 0.009},
)


def _text(report: ReportFacts) -> str:
    return "\n".join(shown(render.html(report)))


def _abstract(report: ReportFacts) -> str:
    return " ".join(render.markdown(report).split("## Abstract")[1].split("\n- ")[0].split())


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d,.]*\d|\d", text)


def test_every_number_of_the_abstract_is_one_of_the_run() -> None:
    """Each is calculated again from the labels and the probabilities, by scikit-learn."""
    labels, probabilities, evaluation = outcome(names=("a", "b", "c", "d", "e"))
    abstract = _abstract(facts(evaluation))
    called = probabilities.argmax(axis=1)
    recalls = recall_score(labels, called, average=None)
    shares = [
        accuracy_score(labels, called),
        *evaluation.accuracy_interval,
        np.bincount(labels).max() / 400,
        f1_score(labels, called, average="macro"),
        evaluation.calibration_error,
        recalls.min(),
    ]
    expected = [f"{100 * share:.1f}" for share in shares]
    expected += [f"{log_loss(labels, probabilities):.4f}"]
    expected += ["5", "2", "2", "1,500", "400", "95", "1", "12", "5"]  # classes, v2, phases, ...
    assert sorted(_numbers(abstract)) == sorted(expected)
    assert f"the lowest recall is {'abcde'[recalls.argmin()]}:" in abstract
    assert "12 min 5 s" in abstract


def test_markdown_and_html_say_the_same() -> None:
    report = facts(outcome(count=60, sure=1.0)[2], joules=5e4, weights=None)
    assert shown(render.html(report)) == read_markdown(render.markdown(report))


def _named(text: str) -> ReportFacts:
    """Return facts with a text in every place where a user's text can be."""
    evaluation = outcome(count=60)[2]
    classes = tuple(
        replace(score, name=f"{index}{text}") for index, score in enumerate(evaluation.classes)
    )
    return facts(
        replace(evaluation, classes=classes),
        title=text,
        source=text,
        backbone=text,
        weights=f"{text}.h5",
        model=model(feature_layers=(text, "x")),
        phases=[phase(text, metrics={text: 1.0})],
        figures={"own": Figure(figsize=(0.1, 0.1))},
        captions={"own": f"{text}."},
        figure_errors={text: text},
        environment={text: text},
        command=f"tlkit {' '.join(text.split())}",
        augmentation=[text],
        unreadable=[(text, text)],
        duplicates=[(text, text)],
        conflicting_labels=[(text, text)],
        test_source=text,
    )


@cache
def _usual_tags() -> list[tuple[str, ...]]:
    return Tags.of(render.html(_named("usual")))


@given(text=HARMFUL)
def test_no_text_becomes_markup(text: str) -> None:
    report = _named(text)
    page = render.html(report)
    assert Tags.of(page) == _usual_tags()
    assert shown(page) == read_markdown(render.markdown(report))
    for index in range(len(NAMES)):
        assert escaping.plain(f"{index}{text}") in shown(page)


def test_names_are_shown_as_they_are() -> None:
    page = render.html(facts())
    assert "&lt;b&gt;rose&lt;/b&gt; &amp; co" in page
    assert "line break" in page
    assert "roses/<broken>.jpg\ncannot identify & read" in _text(facts())
    assert "tlkit train &lt;flowers&gt; &amp;&amp; echo done\n  --seed 3" in page
    assert MarkdownIt().render(render.markdown(facts())).count("rose</b>") == 0


def test_markdown_has_no_needless_backslashes_and_blank_lines() -> None:
    text = render.markdown(facts(outcome(names=("mobilenet_v2", "b"))[2], duplicates=[("a", "b")]))
    assert "\\" not in text
    assert not re.search(r"\n{3}|[ \t]\n|\n$\n", text)
    assert "\n## " in text and not re.search(r"[^\n]\n#", text)


def test_pictures_and_results_come_before_how_they_were_made() -> None:
    assert re.findall(r"<h2>(.*?)</h2>", render.html(facts())) == SECTIONS
    assert re.findall(r"^## (.*)$", render.markdown(facts()), flags=re.M) == SECTIONS


def test_the_page_loads_nothing() -> None:
    page = render.html(facts())
    assert not re.search(r"<script|<link|<iframe|<object|@import|url\(|\son\w+=", page, flags=re.I)
    sources = re.findall(r'(?:src|srcset|href|data|poster|action)="([^"]*)"', page)
    assert {source[:5] for source in sources if not source.startswith("#")} == {"data:"}
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_the_page_holds_its_figures() -> None:
    images = re.findall(r'src="data:image/png;base64,([^"]*)"', render.html(facts()))
    assert len(images) == 4  # two figures, light and dark
    for data in images:
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (150, 150)


def test_the_data_section_counts_every_class_and_part() -> None:
    for name, score in zip(NAMES, facts().evaluation.classes, strict=True):
        assert "\n".join([" ".join(name.split()), "300", str(score.support)]) in _text(facts())
    assert "all classes\n1,500\n400" in _text(facts())


def test_the_results_give_each_measure_with_its_interval() -> None:
    evaluation = outcome()[2]
    lines = _text(facts()).splitlines()
    start = lines.index("measure")
    rows = [lines[at : at + 3] for at in range(start, start + 18, 3)]

    def share(name: str, value: float, bounds: tuple[float, float] | None) -> list[str]:
        interval = (
            "\u2013" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"
        )
        return [name, f"{100 * value:.1f} %", interval]

    intervals = {"accuracy": evaluation.accuracy_interval, **evaluation.intervals}
    low, high = intervals["loss"]
    assert rows == [
        ["measure", "value", "95 % interval"],
        share("accuracy", evaluation.accuracy, intervals["accuracy"]),
        share(
            "balanced accuracy (mean recall)",
            evaluation.balanced_accuracy,
            intervals["balanced_accuracy"],
        ),
        share("macro-averaged F1", evaluation.macro_f1, intervals["macro_f1"]),
        share("top-3 accuracy", evaluation.top_k[3], None),
        ["loss (mean cross-entropy)", f"{evaluation.loss:.4f}", f"{low:.4f} to {high:.4f}"],
    ]
    for score in evaluation.classes:
        shares = (f"{100 * value:.1f} %" for value in (score.precision, score.recall, score.f1))
        row = [" ".join(score.name.split()), *shares, str(score.support)]
        assert "\n".join(row) in "\n".join(lines)


CHOICE = Choice(
    candidates=(
        Candidate(accuracy=0.8, loss=0.5),
        Candidate(learning_rate=3e-4, share=0.5, accuracy=0.9, loss=0.4),
    ),
    num_held_out=48,
    refitted=True,
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"unreadable": None}, "The images were not read from files."),
        ({"unreadable": []}, "Every file could be read."),
        ({"unreadable": [(f"{n}.jpg", "empty") for n in range(104)]}, "There are 4 more."),
        ({"unreadable": [("a", "empty")]}, "1 file or folder was left out because of errors."),
        (
            {"unreadable": [("a", "empty"), ("b", "cut")], "num_replaced": 2},
            "2 files or folders were replaced by grey images because of errors.",
        ),
        ({"duplicates": None}, "The images were not searched for duplicates."),
        ({"duplicates": []}, "No two images are identical or nearly identical."),
        ({"duplicates": [("a", "b")]}, "both images of a pair are in the same part"),
        ({"duplicates": [("a", "b")], "duplicates_apart": 1}, "but of 1, which belong to a chain"),
        ({"duplicates": [("a", "b")], "duplicates_policy": "allow"}, "may be in different parts"),
        ({"joules": None}, "Energy: not measured."),
        ({"joules": 7.2e6}, "Energy: 2 kWh, measured by the processor's own counter"),
        ({"captions": {"predictions": "My caption."}}, "My caption."),
        ({"test_source": "another camera"}, "The test images come from another camera."),
        ({"image_size": 160, "fit": "crop"}, "read at 160 x 160 pixels"),
        ({"image_size": 160, "fit": "crop"}, "are cropped to a square."),
        ({"image_size": (120, 200)}, "read at 120 x 200 pixels (height x width): "),
        ({"image_size": (120, 200)}, "of another aspect ratio are stretched to this one."),
        ({"image_size": 160, "fit": "squash"}, "are stretched to a square."),
        ({"image_size": 160, "fit": "pad"}, "are padded with black to a square."),
        ({"augmentation": ["flip", "zoom"]}, "changed at random: flip and zoom."),
        ({"model": model(temperature=1.5)}, "divided by a temperature of 1.500"),
        ({"choice": CHOICE}, "fine-tuned at 0.0003, 50 % of the way"),
        ({"choice": CHOICE}, "50 % of the way from those before the phase to those of epoch 4"),
        ({"choice": CHOICE}, "It was then trained again, on all training images."),
        ({"choice": replace(CHOICE, refitted=False)}, "The images held out were not trained on."),
        ({"model": model(resized_to=(8, 9))}, "resizes images to 8 x 9 pixels (bilinear)."),
        ({"model": model(resized_to=(8, 9))}, "pixel values from 0 to 255 to values from 0 to"),
        ({"model": model(grayscale=True)}, "copies the gray channel"),
        ({"model": model(standardized=True)}, "shifts and scales each channel"),
        ({"model": model(input_size=(8, 9))}, "takes images of 8 x 9 pixels"),
        ({"phases": [phase(best_epoch=0)]}, "weights kept\nthose from before the phase"),
        ({"phases": [phase(learning_rates=(0.1, 0))]}, "0.1 after the first epoch, 0 after the la"),
        ({}, "weights kept\nthose of epoch 4"),
        ({}, "2 weight tensors changed, and the 260 frozen weight tensors of the backbone did not"),
        ({}, "104 weight tensors changed, and no weight of the backbone was frozen."),
        ({}, "accuracy on validation images, last epoch\n81.2 %"),
        ({"phases": [SOLVED]}, "computed in one step from the features, without epochs"),
        (
            {"phases": [phase(seconds=700.0)]},
            "took 12 min 5 s: 11 min 40 s in one phase, and 25.0 s",
        ),
        ({"phases": [phase(seconds=725.0)]}, "Training took 12 min 5 s: 12 min 5 s in one phase."),
        ({"phases": [phase(settings={"optimizer": "Adam"})]}, "optimizer\nAdam"),
        ({"image_size": 160}, "Outside the saved model:\nImage files are read at"),
        ({"augmentation": ["flip"]}, "Outside the saved model:\nDuring training only"),
        ({}, "Part of the saved model, which takes images of any size with their original pixel"),
        ({"has_probed": True}, "to set the model up and to choose the layers that the head reads."),
        ({"choice": CHOICE}, "to set the model up and to choose the candidate."),
        ({}, "outside of them, to set the model up."),
        (
            {"model": model(resized_to=(8, 9)), "pretraining_range": (-1, 1)},
            "The backbone was pretrained on values from -1 to 1, to which the other recipes scale.",
        ),
        ({"phases": [SOLVED]}, "The thin horizontal line is the head that was solved"),
        ({"phases": [SOLVED]}, "accuracy on validation images\n90.0 %"),
        ({"phases": [SOLVED]}, "L2 penalty of the head\n0.009"),
        ({"figure_errors": {"grad_cam": "no maps."}}, "Grad-CAM could not be drawn: no maps."),
        ({"figures": {}, "figure_errors": {"features": "no"}}, "map of the features could not be"),
    ],
)
def test_a_fact_has_its_sentence(change: dict[str, Any], sentence: str) -> None:
    assert sentence in _text(facts(**change))


def test_a_solved_head_has_no_epochs() -> None:
    text = _text(facts(phases=[SOLVED]))
    assert not any(words in text for words in ("last epoch", "weights kept", "\nepochs\n"))


def test_a_confusion_is_a_table_if_there_is_no_figure() -> None:
    first = "\n".join(["<b>rose</b> & co", *map(str, outcome()[2].confusion[0])])
    assert first in _text(facts())
    with_figure = facts(figures={"confusion": Figure(figsize=(1, 1))})
    assert first not in _text(with_figure)
    assert "](confusion.png)" in render.markdown(with_figure)
    assert "Visualisations" not in _text(with_figure)


def test_what_is_undefined_has_a_dash() -> None:
    text = _text(facts(predicted([[1, 1, 0], [0, 1, 0], [0, 0, 0]], "xyz"), figures={}))
    assert "x\ny\n1\n50.0 %" in text
    assert "z\n\u2013\n\u2013\n\u2013\n0" in text
    assert "No test image was misclassified." not in text
    text = _text(facts(predicted([[2, 0], [0, 1]], "xy")))
    assert "No test image was misclassified." in text


def test_without_a_command_there_is_no_code() -> None:
    assert render.html(facts()).count("<pre>") == render.html(facts(command="")).count("<pre>") + 1


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("tlkit train photos --out run", 1),
        ("tlkit train 'a folder --with spaces' --recipe best --image-size 96 --out runs/one", 4),
        ("experiments.run(Experiment('a folder', recipe='best', seed=--3), 'a long name') --a", 1),
        ("tlkit train 'not closed --recipe best --image-size 96 --out runs/one --seed 3", 1),
    ],
)
def test_a_long_command_has_a_line_for_each_option_and_stays_the_same(
    command: str, lines: int
) -> None:
    broken = render.break_lines(command)
    assert len(broken.splitlines()) == lines
    assert broken.replace(" \\\n ", "") == command


def test_more_images_give_more_decimals() -> None:
    many = outcome(count=12_000)[2]
    assert f"{100 * many.accuracy:.2f} %" in _abstract(facts(many))
    assert not re.search(r"\d\.\d\d+ %", _text(facts()))


@pytest.mark.parametrize("title", ["Flowers *in*", "two\nlines\x1b[31m"])
def test_the_summary_has_five_lines_of_plain_text(title: str) -> None:
    report = facts(title=title, source="a\nfolder")
    lines = render.summary(report).splitlines()
    assert len(lines) == 5
    assert lines[0] == escaping.plain(title)
    assert f"Accuracy {100 * report.evaluation.accuracy:.1f} % on 400 test images" in lines[2]
    assert set(_numbers(lines[2])) <= set(_numbers(_abstract(report)))


def test_the_card_has_the_metadata_of_a_hub() -> None:
    hub = pytest.importorskip("huggingface_hub")
    report = facts(license="mit")
    metadata = hub.ModelCard(render.card(report)).data
    assert (metadata.license, metadata.library_name) == ("mit", "keras")
    assert metadata.pipeline_tag == "image-classification"
    measured = {result.metric_type: result.metric_value for result in metadata.eval_results}
    assert measured == {"accuracy": report.evaluation.accuracy, "f1": report.evaluation.macro_f1}
    assert {result.dataset_name for result in metadata.eval_results} == {"a folder of flowers"}


def test_the_card_has_the_sections_of_the_report_with_the_limitations_first() -> None:
    pytest.importorskip("huggingface_hub")
    card = render.card(facts())
    headings = re.findall(r"^## (.*)$", card, flags=re.M)
    assert headings[:3] == ["Model description", "How to use", "Limitations"]
    assert set(headings[1:]) == set(SECTIONS) - {
        *("Abstract", "Discussion", "References", "Related work", "Visualisations")
    }
    parts = re.split(r"^## .*\n", render.markdown(facts()), flags=re.M)
    assert all(parts[SECTIONS.index(heading) + 1].strip() in card for heading in headings[2:])


def test_a_card_without_the_hub_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[card\]'"):
        render.card(facts())


def test_the_files_of_a_report_are_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    render.write(tmp_path, facts())
    names = ["curves.png", "other.txt", "paper.md", "portfolio.md", "predictions.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *names,
        "references.bib",
        "report.html",
        "report.md",
        "summary.txt",
    ]
    assert (tmp_path / "report.md").read_text("utf-8") == render.markdown(facts())
    assert (tmp_path / "summary.txt").read_text("utf-8") == render.summary(facts())
    links = re.findall(r"\]\((.*?)\)", render.markdown(facts()))
    assert len(links) == 2
    assert all((tmp_path / link).is_file() for link in links)


def test_with_the_hub_there_is_a_card_too(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    render.write(tmp_path / "new" / "folder", facts())
    assert (tmp_path / "new" / "folder" / "model_card.md").read_text("utf-8").startswith("---\n")


def test_a_figure_that_fails_is_a_line_of_the_report(tmp_path: Path) -> None:
    class Broken(Figure):
        def draw(self, *arguments: object, **settings: object) -> None:
            raise MemoryError

    figures = {"confusion": Broken(), "curves": Figure(figsize=(1, 1))}
    render.write(tmp_path, facts(figures=figures))
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["curves.png"]
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "The confusion matrix could not be drawn: there is not enough memory." in text
    assert "confusion.png" not in text


def test_a_picture_for_dark_pages_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> bytes:
        raise MemoryError

    given = facts(figures={"confusion": Figure(figsize=(1, 1))})
    assert 'class="dark"' in render.html(given)
    monkeypatch.setattr(images, "encode_dark", fails)
    page = render.html(given)
    assert 'class="dark"' not in page
    assert "data:image/png" in page


def test_a_run_is_saved_with_its_report(small_backbone: keras.Model, tmp_path: Path) -> None:
    classifier, data = small_classifier(small_backbone), make_noise()
    trainer = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=2), seed=0)
    run = trainer.fit(classifier, data, verbose=False)
    evaluation = tlkit.evaluate(classifier, data)
    folder = run_folder.save_run(
        tmp_path / "run",
        model=classifier,
        run=run,
        evaluation=evaluation,
        figures={},
        about="a test",
        config={"seed": 0},
        report=facts(evaluation),
    )
    names = {path.name for path in folder.iterdir()}
    assert {"model.keras", "metrics.json", "report.html", "report.md", "curves.png"} <= names


def test_the_users_own_split_is_said_with_its_duplicates() -> None:
    report = facts(own_parts=("test",), duplicates=[("a", "b")], duplicates_apart=1)
    text = render.markdown(report)
    assert "own: the test images are used as they were given. The train images were taken" in text
    assert "1 of them are in different parts of the user's own split" in text
    assert "- One pair of identical or nearly identical images is in different parts" in text
    assert not re.search(r"\n{3}|[ \t]\n|[^\n]\n#", text)


def test_a_split_that_is_drawn_by_content_is_said_with_what_was_not_searched_for() -> None:
    text = render.markdown(facts(drawn_by_content=True, num_sampled=20))
    assert "Files with the same content are in the same part of the data" in text
    assert "- The images were not searched for similar ones." in text
    assert "show a sample of 20 test images, drawn at random" in text
    assert not re.search(r"\n{3}|[ \t]\n|[^\n]\n#", text)


def test_duplicates_in_different_parts_limit_the_accuracy() -> None:
    pairs = [("a", "b"), ("c", "d")]
    report = facts(duplicates=pairs, duplicates_apart=2, duplicates_policy="allow")
    text = render.markdown(report)
    limitations = text.split("## Limitations", 1)[1].split("\n## ", 1)[0]
    assert (
        "- 2 pairs of identical or nearly identical images are in different parts of the data. If "
        "test images resemble training images, the results are better than with new images."
    ) in limitations
    assert "may be in different parts of the data; those of 2 pairs are." in text
    together = facts(duplicates=pairs, duplicates_policy="allow")
    assert "are in different parts of the data. If" not in render.markdown(together)


def test_folds_are_said_with_their_mean() -> None:
    report = facts(
        num_folds=5,
        fold_accuracy=Estimate(mean=0.9, interval=0.021),
        phases=[phase(learning_rates=None)],
        duplicates=[("a", "b")],
    )
    text = render.markdown(report)
    assert "Over the folds, the mean accuracy is 90.0 ± 2.1 % (± half the 95 % interval" in text
    assert "both images of a pair are in the same fold" in text
    assert "chosen once, on all images, so that the results may be slightly too good." in text
    assert not re.search(r"\n{3}|[ \t]\n|[^\n]\n#", text)


def test_of_many_classes_the_weakest_are_listed() -> None:
    names = tuple(f"class {number}" for number in range(120))
    text = render.markdown(facts(outcome(names=names)[2], figures={}))
    assert "There are 20 more classes: those with the lowest F1 are listed." in text
    assert "The classes with the lowest F1 are listed, 100 of 120; `metrics.json` has all." in text
    assert not re.search(r"\n{3}|[ \t]\n|[^\n]\n#", text)


def test_class_weights_sets_and_what_is_rejected_are_said() -> None:
    sets = MeasuredSets(coverage=0.9, measured=0.915, mean_size=1.25, num_calibrated=40)
    weights = dict(zip(NAMES, range(1, len(NAMES) + 1), strict=True))
    text = render.markdown(facts(class_weights=weights, sets=sets, ood_rejected=0.2))
    assert "| Gänseblümchen | 5 |" in text
    assert "those of a world in which all classes are equally frequent" in text
    assert "true class of 90 % of images contain it for" in text
    assert "1.25 classes on average. They were calibrated on 40 validation images" in text
    assert "It rejects 20.0 % of the test images" in text
    assert "fit the score again with validation images" in text
    plain = render.markdown(facts())
    for word in ("Class weights", "Prediction sets", "None of these"):
        assert f"### {word}" in text
        assert f"### {word}" not in plain


def test_every_reference_is_cited_by_its_number_and_in_the_bibtex_file(tmp_path: Path) -> None:
    settings = {"optimizer": "Adam", "BatchNormalization": "frozen"}
    report = facts(phases=[phase(settings=settings), phase("fine_tune", trained_layers=54)])
    text = render.markdown(report)
    numbered = re.findall(r"^(\d+)\. (.*?)\. ", text.split("## References")[1], flags=re.M)
    cited = re.findall(r"\[(\d+)\]", text.split("## Related work")[1].split("\n## ")[0])
    assert len(numbered) >= 7
    assert sorted(set(map(int, cited))) == [int(number) for number, _ in numbered]
    for used in ("MobileNetV2: inverted", "Kingma", "Ioffe", "Russakovsky", "Kumar", "Guo"):
        assert used in text.split("## References")[1]
    assert "Loshchilov" not in text
    render.write(tmp_path, report)
    entries = re.findall(r"^@\w+\{(\w+),$", (tmp_path / "references.bib").read_text(), flags=re.M)
    assert len(entries) == len(numbered) and "sandler2018" in entries


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phases": [phase(metrics={"accuracy": 1.0})]}, "percentage points above that on the"),
        ({"phases": [phase(metrics={"accuracy": 1.0})]}, "more images, or random changes of them"),
        (
            {"phases": [phase(metrics={"accuracy": 1.0})], "limit": 9},
            "more images (train without the limit), or random changes of them",
        ),
        ({"choice": CHOICE}, "of the way (chosen)</th>"),
        ({"phases": [phase(metrics={"accuracy": 0.5})]}, "The head alone does not fit its"),
        (
            {"phases": [phase(metrics={"val_accuracy": v}) for v in (0.5, 0.75)]},
            "from 50.0 to 75.0\N{NO-BREAK SPACE}%, by +25.0 percentage points",
        ),
    ],
)
def test_the_discussion_follows_from_the_numbers(change: dict[str, Any], sentence: str) -> None:
    assert sentence in render.html(facts(**change))


def test_what_fine_tuning_changed_is_unknown_of_weights_half_of_the_way() -> None:
    alone, tuned = (
        Candidate(accuracy=0.5, loss=1.0),
        Candidate(learning_rate=1e-3, share=0.5, accuracy=0.9, loss=0.1),
    )
    phases = [phase(metrics={"val_accuracy": value}) for value in (0.5, 0.75)]
    for share, is_known in ((1.0, True), (0.5, False)):
        choice = Choice(candidates=(alone, replace(tuned, share=share)), num_held_out=9)
        page = render.html(facts(phases=phases, choice=choice))
        assert ("Fine-tuning changed the accuracy on the validation" in page) == is_known


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"phases": [phase()]}, "They served to follow the training."),
        (
            {"phases": [phase()], "model": model(temperature=1.2)},
            "They served to follow the training and calibrate the probabilities.",
        ),
        (
            {"phases": [phase(metrics={"loss": 0.1})], "model": model(temperature=1.2)},
            "They served to calibrate the probabilities.",
        ),
        ({"phases": [phase(metrics={"loss": 0.1})]}, "This run had no use for them."),
    ],
)
def test_it_says_what_the_validation_images_were_used_for(
    change: dict[str, Any], expected: str
) -> None:
    counts = {**facts().counts, "validation": dict.fromkeys(NAMES, 10)}
    text = render.markdown(facts(counts=counts, **change))
    assert f"no weight was fitted to them. {expected} The test images" in text
    assert "no weight was fitted" not in render.markdown(facts(**change))
