"""What a notebook shows of tlkit's values, and what an interrupt of its kernel keeps."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlkit
from tlkit import Phase, TwoPhaseTrainer, freezing, recipes

ROOT = Path(__file__).parent.parent
_WAIT = 240  # seconds: importing TensorFlow alone takes many on a busy machine


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    digits = tlkit.datasets.digits()
    small = digits.train.take(slice(0, 120))
    model = tlkit.build_classifier(
        "mobilenet_v2",
        10,
        weights="starter",
        input_shape=(8, 8, 1),
        image_size=32,
        value_range=(0, 16),
        class_names=[f"<digit {number}>" for number in range(10)],
    )
    trainer = TwoPhaseTrainer(head=Phase(epochs=2), seed=0)
    run = trainer.fit(model, (small.images, small.labels), verbose=False)
    fast = recipes.fast()
    return {
        "source": small,
        "split": digits.limited(120),
        "run": run,
        "evaluation": tlkit.evaluate(model, (small.images, small.labels)),
        "probe": tlkit.probe(model, (small.images, small.labels), verbose=False),
        "plan": freezing.plan(tlkit.models.backbone_of(model), freezing.first(100)),
        "comparison": recipes.compare(
            [fast], digits.limited(120), seeds=1, weights="starter", verbose=False
        ),
    }


def test_values_are_tables_with_bars_or_pictures(shown: dict[str, Any]) -> None:
    pages = {name: value._repr_html_() for name, value in shown.items()}
    for name, page in pages.items():
        assert "<table" in page, name
        assert page.count("<") == page.count(">"), name
        assert len(page) < 100_000, name
    for name in ("evaluation", "probe", "comparison", "source"):
        assert "linear-gradient" in pages[name], name
    assert pages["source"].count("<img") == 10
    assert "&lt;digit 3&gt;" in pages["evaluation"]
    assert "<digit" not in pages["evaluation"]
    assert "Confusion matrix" in pages["evaluation"]
    assert pages["plan"].count("<rect") == len(shown["plan"].backbone.layers)
    assert "100 of 154 layers" in pages["plan"]
    assert "<svg" in pages["run"]


def test_arrays_do_not_flood_a_cell(shown: dict[str, Any]) -> None:
    for name in ("source", "split", "evaluation"):
        assert len(repr(shown[name])) < 1500, name
        assert "array(" not in repr(shown[name]), name


def test_a_run_prints_a_row_for_each_phase(shown: dict[str, Any]) -> None:
    header, row = str(shown["run"]).splitlines()
    assert header.split()[:2] == ["phase", "epochs"]
    accuracy = shown["run"].phases[0].history["accuracy"][-1]
    assert row.split()[:2] == ["head", "2"]
    assert f"{100 * accuracy:.2f} %" in row


def test_an_audit_shows_how_many_more_there_are() -> None:
    suspects = tuple(
        tlkit.evaluation.Suspect(
            index=at, path=None, label="a", suggested_label="<b>", score=at / 100
        )
        for at in range(12)
    )
    audit = tlkit.evaluation.Audit(
        suspects=suspects, outliers=(), scores=np.zeros(500), num_folds=5
    )
    assert "and 2 more suspicious labels" in str(audit)
    assert "and 2 more suspicious labels" in audit._repr_html_()
    assert "&lt;b&gt;" in audit._repr_html_()
    assert "array(" not in repr(audit)


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client").KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=_WAIT)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def _execute(kernel: tuple[Any, Any], code: str, *, interrupt_at: str = "") -> list[dict[str, Any]]:
    """Return the messages of a cell; with `interrupt_at`, interrupt it once a line has the text."""
    manager, client = kernel
    sent = client.execute(code)
    messages: list[dict[str, Any]] = []
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        message = client.get_iopub_msg(timeout=_WAIT)
        if message["parent_header"].get("msg_id") != sent:
            continue
        messages.append(message)
        content = message["content"]
        if interrupt_at and interrupt_at in content.get("text", ""):
            manager.interrupt_kernel()
            interrupt_at = ""
        if content.get("execution_state") == "idle":
            return messages
    raise TimeoutError(code)


def _result(messages: list[dict[str, Any]]) -> dict[str, Any]:
    [data] = [each["content"]["data"] for each in messages if each["msg_type"] == "execute_result"]
    return dict(data)


_SETUP = """
import sys, tlkit, numpy as np
from tlkit import Phase, TwoPhaseTrainer
digits = tlkit.datasets.digits()
model = tlkit.build_classifier(
    "mobilenet_v2", 10, weights="starter", input_shape=(8, 8, 1), image_size=32, value_range=(0, 16)
)
trainer = TwoPhaseTrainer(head=Phase(epochs=100_000), cache=None, seed=0)
"""


def test_a_kernel_shows_figures_and_bars_and_keeps_what_an_interrupt_left(
    kernel: tuple[Any, Any],
) -> None:
    assert not [each for each in _execute(kernel, _SETUP) if each["msg_type"] == "error"]
    evaluate = "evaluation = tlkit.evaluate(model, digits.test)\nevaluation"
    assert "<table" in _result(_execute(kernel, evaluate))["text/html"]
    figure = "tlkit.plotting.confusion_matrix(evaluation)"
    assert "image/png" in _result(_execute(kernel, figure))

    fit = "run = trainer.fit(model, digits.train.take(slice(0, 64)))"
    messages = _execute(kernel, fit, interrupt_at="head            3/100000")
    shown = [
        each["content"]["data"]["text/html"]
        for each in messages
        if each["msg_type"] in ("display_data", "update_display_data")
    ]
    assert any("<progress" in each for each in shown)
    assert shown[-1] == ""  # the bar is removed
    lines = "".join(each["content"].get("text", "") for each in messages)
    assert re.search(r"head\s+1/100000  accuracy", lines)
    [error] = [each["content"] for each in messages if each["msg_type"] == "error"]
    assert error["ename"] == "TrainingInterrupted"
    assert "sys.last_value.run" in "".join(error["traceback"])
    assert len("".join(error["traceback"]).splitlines()) < 5

    kept = _execute(
        kernel,
        "run = sys.last_value.run\n"
        "accuracy = tlkit.evaluate(model, digits.test).accuracy\n"
        "[run.phases[0].num_epochs, len(run.history['loss']), accuracy]",
    )
    epochs, losses, accuracy = json.loads(_result(kept)["text/plain"])
    assert epochs == losses >= 2
    assert 0 < accuracy < 1
