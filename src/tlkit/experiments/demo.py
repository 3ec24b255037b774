"""A web page to try the classifier of a run, or an exported file, in a browser."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tlkit._internal import arguments, temporaries
from tlkit._internal.signatures import check_arguments
from tlkit.data.image_files import find_images
from tlkit.deployment import demo
from tlkit.deployment.demo import DemoContent
from tlkit.deployment.flagging import FlagFolder
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.demo_subject import load_subject
from tlkit.experiments.run_images import load_test_images

FLAGS = "flagged"
"""The default folder, in the current folder, for predictions that were flagged as wrong."""


@check_arguments
def create_demo(
    model: str | Path,
    *,
    top: int = 5,
    flags: str | Path | None = FLAGS,
    examples: int | str | Path = 0,
    title: str | None = None,
) -> Any:
    """Return a page to try a classifier, as a `gradio.Blocks`; serve it with `serve_demo`.

    Visitors drop, choose or paste images, or take them with a webcam; images are read as in
    training. The page shows the most probable classes, the out-of-distribution score, and for a
    Keras classifier Grad-CAM. Wrong predictions can be flagged, with the correct class. The page
    loads no files from other hosts, and sends no reports.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        top: Number of classes to show.
        flags: The folder to store wrong predictions in, with a subfolder for each class, to train
            on (`tlkit train --add`), and the table `flagged.csv`; None shows no button for
            flagging.
        examples: The number of the run's test images to offer, or a folder of images.
        title: The title; by default the names of the classes.

    Raises:
        ConfigError: An argument is wrong, or there is no such classifier.
        DataError: Test images of the run are needed as examples, and were moved or changed.
        MissingExtraError: Gradio, or the runtime of the file, is not installed.
    """
    path = arguments.path("model", model)
    demo.check_installed()
    subject = load_subject(path)
    names = subject.classifier.class_names
    kept = None
    if flags is not None:
        kept = FlagFolder(
            folder=arguments.path("flags", flags).resolve(),
            class_names=names,
            multi_label=subject.thresholds is not None,
            **subject.columns,
        )
    content = DemoContent(
        title=title or subject.title,
        description=subject.description,
        class_names=names,
        predict=subject.predict,
        explain=None if subject.model is None else subject.explain,
        thresholds=subject.thresholds,
        ood_threshold=subject.ood_threshold,
        top=arguments.at_least("top", top, 1),
        examples=_find_examples(path, examples),
        flags=kept,
    )
    return demo.build_page(content)


@check_arguments
def serve_demo(
    page: Any,
    *,
    host: str | None = None,
    port: int | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> None:
    """Serve a page of `create_demo` until the process is interrupted.

    Args:
        page: The page.
        host: The address to listen on; by default GRADIO_SERVER_NAME, or this machine only.
        port: The port; by default GRADIO_SERVER_PORT, or the first free port from 7860 on.
        on_message: Is called with the page's address.

    Raises:
        ConfigError: The address can't be used, for example because another program uses the port.
    """
    demo.serve_page(page, host=host, port=port, on_message=on_message)


def write_examples(run: Path, count: int, folder: Path) -> list[Path]:
    """Write test images of a run to a folder, as the run reads them; return the files.

    The images are evenly spread over the test images. They hold no metadata of the original files,
    such as where a photo was taken.

    Raises:
        ConfigError: It is not a run, or has no test images.
        DataError: The run's images were moved or changed.
    """
    test = load_test_images(run) if run.is_dir() else None
    if test is None:
        raise ConfigError(Argument("examples"), f" needs a run with test images, got {str(run)!r}.")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(min(count, len(test))):
        pixels = test.images[number * len(test) // min(count, len(test))]
        file = folder / f"{number + 1}.png"
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file)
        files.append(file)
    return files


def _find_examples(path: Path, examples: int | str | Path) -> tuple[Path, ...]:
    if not isinstance(examples, int):
        return tuple(find_images([arguments.path("examples", examples)])[0])
    if not arguments.at_least("examples", examples, 0):
        return ()
    folder = temporaries.reserve(Path(tempfile.gettempdir()))  # as long as the page is served
    folder.mkdir(mode=0o700)
    return tuple(write_examples(path, examples, folder))
