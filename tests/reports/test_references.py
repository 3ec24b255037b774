from email.message import Message
from importlib import metadata

import pytest
from tests.reports.example import facts, predicted

from tlkit.evaluation.prediction_sets import MeasuredSets
from tlkit.reports import references, render

_SOURCE = "https://example.org/source"
_USED = {"tlkit": "0.1.0", "date": "2026-11-30"}


def _set_urls(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    package = Message()
    for line in lines:
        package["Project-URL"] = line
    monkeypatch.setattr(metadata, "metadata", lambda name: package)


def test_the_entry_of_tlkit_has_the_year_of_the_run_and_the_address_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set_urls(monkeypatch, "Issues, https://example.org/issues", f"Source, {_SOURCE}")
    report = facts(environment=_USED)
    entry = references.select(report)["tlkit"].to_bibtex()
    assert "  note = {Version 0.1.0},\n  year = {2026},\n" in entry
    assert f"  url = {{{_SOURCE}}},\n" in entry
    assert f"Version 0.1.0, 2026. {_SOURCE}" in render.markdown(report)


def test_without_addresses_or_an_installed_package_there_is_no_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set_urls(monkeypatch)
    assert "url" not in references.select(facts(environment=_USED))["tlkit"].to_bibtex()

    def fail(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", fail)
    assert "url" not in references.select(facts(environment=_USED))["tlkit"].to_bibtex()


def test_the_sources_of_intervals_and_sets_are_cited() -> None:
    keys = {each.key for each in references.select(facts()).values()}
    assert {"wilson1927", "efron1979"} <= keys
    assert not {"sadinle2019", "vovk2012"} & keys
    for count, is_cited in ((28, True), (2000, False)):
        sets = MeasuredSets(coverage=0.9, measured=0.9, mean_size=1.2, num_calibrated=count)
        keys = {each.key for each in references.select(facts(sets=sets)).values()}
        assert "sadinle2019" in keys
        assert ({"vovk2012", "angelopoulos2021"} <= keys) == is_cited


def test_the_report_says_how_its_intervals_are_made() -> None:
    text = render.markdown(facts(predicted([[9, 1], [1, 9]], "ab")))
    results = text.split("## Results")[1].split("### Class by class")[0]
    assert "computed by Wilson's formula (Wilson, 1927)" in results
    assert "1,000 bootstrap resamples of the test images (Efron, 1979)" in results


@pytest.mark.parametrize(
    ("backend", "key", "name"),
    [
        ("tensorflow", "abadi2016", "TensorFlow"),
        ("jax", "bradbury2018", "JAX"),
        ("torch", "paszke2019", "PyTorch"),
        ("openvino", None, None),
    ],
)
def test_the_programs_that_the_run_used_are_cited(
    backend: str, key: str | None, name: str | None
) -> None:
    used = {**_USED, "keras_backend": backend, "scikit-learn": "1.9.1"}
    report = facts(environment=used)
    cited = references.select(report)
    assert cited["Keras"].key == "chollet2015"
    assert cited["scikit-learn"].key == "pedregosa2011"
    assert (cited["backend"].key if "backend" in cited else None) == key
    last = render.markdown(report).split("The classifier was trained and evaluated with tlkit")[1]
    assert (f", which ran on {name} [" in last) == (key is not None)
    assert "scikit-learn" not in references.select(facts(environment=_USED))


def _compared(*, difference: float, interval: float) -> str:
    other = {"name": "fast", "accuracy": 0.9 - difference, "interval": (0.8, 0.95), "loss": 0.3}
    other |= {"difference": difference, "difference_interval": interval, "p_value": 0.01}
    worse = {**other, "name": "plain", "accuracy": 0.1, "difference": 0.8}
    return render.markdown(facts(others=[other, worse]))


@pytest.mark.parametrize(
    ("difference", "interval", "words"),
    [
        (-0.05, 0.02, "5.0 percentage points more than this one. It is the better choice"),
        (-0.05, 0.07, "5.0 percentage points more than this one. The difference may be chance."),
        (0.05, 0.02, "5.0 percentage points less than this one.\n"),
        (0.0, 0.02, "%, as this one does.\n"),
    ],
)
def test_the_discussion_names_the_best_of_the_other_classifiers(
    difference: float, interval: float, words: str
) -> None:
    discussion = _compared(difference=difference, interval=interval).split("## Discussion")[1]
    start = "The most accurate of the other classifiers on the same images, fast, reaches "
    assert start in discussion
    assert words in discussion.split(start)[1].split("## ")[0]


def test_a_comparison_cites_its_interval_and_its_test() -> None:
    text = _compared(difference=0.05, interval=0.02)
    assert "Bonett" in text.split("## References")[1]
    assert "McNemar" in text.split("## References")[1]
    alone = render.markdown(facts()).split("## References")[1]
    assert "Bonett" not in alone
    assert "author = {F. Chollet and others}" in references.to_bibtex(facts(environment=_USED))
