"""A web page to try a classifier: show the classes of an image and Grad-CAM, flag wrong ones.

It is a Gradio app that works offline: it loads no files from other hosts and sends no reports.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from tlkit._internal.optional import installed, require
from tlkit._internal.text import show
from tlkit.data.decoding import UnreadableImageError
from tlkit.deployment import demo_text
from tlkit.deployment.flagging import FlagFolder
from tlkit.deployment.predictor import Prediction
from tlkit.errors import Argument, ConfigError, TlkitError

MAX_FILE_SIZE = "20mb"
"""The largest file that the page accepts."""

_HINT = "Choose an image to see its class."
_KEPT_SECONDS = 3600  # how long an uploaded image stays on the server's disk
_FONT = ("system-ui", "Segoe UI", "Noto Sans", "sans-serif")


@dataclass(frozen=True, kw_only=True)
class DemoContent:
    """The content of a demo's page, and the functions that it calls.

    Attributes:
        title: The heading.
        description: A sentence below the title.
        class_names: The name of each class.
        predict: Returns the prediction for an image file.
        explain: Returns a picture of the evidence in an image file for a class; None without.
        thresholds: For multi-label, the threshold of each class; None otherwise.
        ood_threshold: The score above which an image is probably none of the classes.
        top: Number of classes to show.
        examples: Image files to try.
        flags: The folder where wrong predictions are stored; None shows no button for flagging.
    """

    title: str
    description: str
    class_names: tuple[str, ...]
    predict: Callable[[Path], Prediction]
    explain: Callable[[Path, str], Image] | None
    thresholds: dict[str, float] | None
    ood_threshold: float
    top: int
    examples: tuple[Path, ...]
    flags: FlagFolder | None


def build_page(content: DemoContent) -> Any:
    """Return the page as a `gradio.Blocks`, to pass to `serve_page`.

    Args:
        content: The content of the page.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gradio = _import_gradio()
    page = gradio.Blocks(
        title=content.title,
        analytics_enabled=False,
        delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS),
    )
    with page:
        head = demo_text.render_head(content.title, content.description)
        gradio.HTML(head, padding=False)
        with gradio.Row():
            with gradio.Column():
                image = _add_image(gradio)
                if content.examples:
                    files = [[str(path)] for path in content.examples]
                    gradio.Examples(files, image, label="Examples", cache_examples=False)
            with gradio.Column():
                result = gradio.HTML(
                    demo_text.render_note(_HINT, "hint"), padding=False, elem_id="result"
                )
                if content.flags is None:
                    flagging: tuple[Any, ...] = ()
                else:
                    flagging = _add_flagging(gradio, content.flags)
                overlay = gradio.Image(
                    label="Grad-CAM",
                    visible=False,
                    interactive=False,
                    buttons=[],
                    height=320,
                    alt_text="The image in grey, with bright colours where it counts",
                    elem_id="overlay",
                )
        shown = gradio.State(None)
        _connect(content, image, (result, shown, overlay), flagging)
    return page


def serve_page(
    page: Any,
    *,
    host: str | None = None,
    port: int | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> None:
    """Serve a page until the process is interrupted.

    Args:
        page: The result of `build_page`.
        host: The address to listen on; by default GRADIO_SERVER_NAME, or this machine only.
        port: The port; by default GRADIO_SERVER_PORT, or the first free port from 7860 on.
        on_message: Is called with the page's address.

    Raises:
        ConfigError: The address can't be used, for example because another program uses the port.
    """
    gradio = _import_gradio()
    theme = gradio.themes.Default(font=_FONT, font_mono=("ui-monospace", "monospace"))
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css=demo_text.read_style(),
            share=False,
            quiet=True,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            show_error=True,
            max_file_size=MAX_FILE_SIZE,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ConfigError(
            Argument("port"),
            f" must be a free port of this machine, got {show(port)} at {host or 'this machine'}: "
            "another program may use it. Choose another port, or leave it out.",
        ) from error
    on_message(f"the demo is at {address} (Ctrl+C stops it)")
    page.block_thread()


def check_installed() -> None:
    """Check that Gradio is installed, before a classifier is loaded.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    if not installed("gradio"):
        _import_gradio()


def _import_gradio() -> Any:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when it is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return require("gradio", extra="demo")


def _add_image(gradio: Any) -> Any:
    image = gradio.Image(
        label="Image",
        type="filepath",
        format="png",  # for pictures of the webcam: lossless
        sources=["upload", "webcam", "clipboard"],
        buttons=[],
        height=320,
        alt_text="The image to classify",
        elem_id="image",
    )
    # By default, Gradio opens the file and converts it to RGB, before `predict` reads it as in
    # training; a file that Gradio can't open would cause an error without a reason.
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def _add_flagging(gradio: Any, flags: FlagFolder) -> tuple[Any, ...]:
    with gradio.Accordion("Is the prediction wrong?", open=False, visible=False) as panel:
        right = gradio.Dropdown(
            list(flags.class_names),
            value=[] if flags.multi_label else None,
            multiselect=flags.multi_label,
            label="Right classes" if flags.multi_label else "Right class",
            elem_id="right",
        )
        button = gradio.Button("Flag as wrong", elem_id="flag")
        answer = gradio.HTML("", padding=False, visible=False, elem_id="answer")
    return panel, right, button, answer


def _connect(
    content: DemoContent, image: Any, results: tuple[Any, ...], flagging: tuple[Any, ...]
) -> None:
    """Connect the events of the page: an image is chosen, a prediction is flagged.

    All events are in one queue, so that one network runs at a time.
    """
    gradio = _import_gradio()

    result, shown, overlay = results
    how: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "model"}

    def predict(path: str | None) -> tuple[Any, ...]:
        text, found = _predict(content, path)
        panel = (
            gradio.update(visible=found is not None),
            _empty(content),
            gradio.update(visible=False),
        )
        hidden = gradio.update(visible=False, value=None)
        return text, found, hidden, *(panel if flagging else ())

    outputs = [result, shown, overlay]
    if flagging:
        panel, right, button, answer = flagging
        outputs += [panel, right, answer]
        button.click(
            lambda path, found, chosen: gradio.update(
                value=_flag(content, path, found, chosen), visible=True
            ),
            [image, shown, right],
            answer,
            **how,
        )
    event = image.change(predict, image, outputs, **how)
    if content.explain is not None:
        event.then(
            lambda path, found: _explain(content, path, found), [image, shown], overlay, **how
        )


def _predict(content: DemoContent, path: str | None) -> tuple[str, Prediction | None]:
    """Return the text that the page shows for an image, and the image's prediction."""
    if path is None:
        return demo_text.render_note(_HINT, "hint"), None
    try:
        found = content.predict(Path(path))
    except UnreadableImageError as error:
        return demo_text.render_note(
            f"This is no image to classify: {error.reason}.", "problem"
        ), None
    except TlkitError as error:
        return demo_text.render_note(error, "problem"), None
    text = demo_text.render_prediction(
        found,
        top=content.top,
        thresholds=content.thresholds,
        ood_threshold=content.ood_threshold,
    )
    return text, found


def _explain(content: DemoContent, path: str | None, found: Prediction | None) -> Any:
    """Return a picture of the evidence for the most probable class, if there is one."""
    gradio = _import_gradio()

    if path is None or found is None or content.explain is None:
        return gradio.update(visible=False, value=None)
    label = next(iter(found.labels or ()), found.label)
    try:
        picture = content.explain(Path(path), label)
    except TlkitError as error:  # not every network has maps to explain
        gradio.Info(f"There is no Grad-CAM picture: {error}")
        return gradio.update(visible=False, value=None)
    title = f"Grad-CAM: the brighter, the more it counts for {label}"
    return gradio.update(visible=True, value=picture, label=title)


def _empty(content: DemoContent) -> list[str] | None:
    return [] if content.flags is not None and content.flags.multi_label else None


def _flag(content: DemoContent, path: str | None, found: Prediction | None, chosen: Any) -> str:
    """Store an image with its correct classes; return the text that the page shows."""
    if path is None or found is None or content.flags is None:
        return demo_text.render_note(_HINT, "problem")
    right = [] if chosen is None else [chosen] if isinstance(chosen, str) else list(chosen)
    try:
        kept = content.flags.add(Path(path), right, found)
    except TlkitError as error:
        return demo_text.render_note(error, "problem")
    name = ", ".join(right) or "no class"
    place = kept.relative_to(content.flags.folder)
    return demo_text.render_note(f"Kept as {name}: {place}. Thank you.", "done")
