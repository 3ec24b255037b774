"""The files of a Hugging Face Space that shows the demo of a classifier."""

import json
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from tlkit._internal import arguments
from tlkit._internal.backends import package_versions
from tlkit._internal.files import replace_atomically
from tlkit._internal.optional import require
from tlkit._internal.signatures import check_arguments
from tlkit.deployment import formats
from tlkit.deployment.predictor import Predictor
from tlkit.experiments import public_files, run_files, run_folder
from tlkit.experiments.demo import write_examples
from tlkit.experiments.demo_subject import load_subject
from tlkit.experiments.exported import is_exported
from tlkit.models.applications import SPECS

_APP = '''"""A page to try a classifier; `tlkit demo --write` wrote it."""

from pathlib import Path

from tlkit.experiments import create_demo, serve_demo

HERE = Path(__file__).parent

demo = create_demo(
    HERE / {model!r},
    title={title!r},
    top={top},
    examples={examples},
    flags=HERE / "flagged",  # None shows no button for wrong predictions
)

if __name__ == "__main__":
    serve_demo(demo, on_message=print)
'''

_README = """---
title: {title}
emoji: 🖼️
colorFrom: blue
colorTo: green
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
pinned: false
tags:
- image-classification
- tlkit
---

# {heading}

{description}

The page loads nothing from elsewhere. Images are read as in training, stay on the server for an
hour, and leave it only in the folder `flagged`, into which the button for wrong predictions copies
them. A Space loses that folder when it restarts, unless it has persistent storage.

To run it elsewhere:

```shell
pip install -r requirements.txt gradio=={gradio}
python app.py
```
"""


@check_arguments
def write_space(
    model: str | Path,
    folder: str | Path,
    *,
    top: int = 5,
    examples: int = 0,
    title: str | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> Path:
    """Write `app.py`, `requirements.txt`, `README.md` and the model of a Hugging Face Space.

    `python app.py` in this folder shows the page of `create_demo`. Of a run, only the model, its
    metrics and its settings are copied; paths of this machine are removed from the settings.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        folder: The folder to write to; it must be new or empty.
        top: Number of classes to show.
        examples: The number of the run's test images to copy to the Space for visitors to try.
        title: The title; by default the names of the classes.
        on_message: Is called with the path that was written, and how to try the page.

    Raises:
        ConfigError: An argument is wrong, or there is no such classifier.
        DataError: Test images of the run are needed as examples, and were moved or changed.
        MissingExtraError: Gradio, or the runtime of the file, is not installed.
    """
    path = arguments.path("model", model)
    arguments.at_least("top", top, 1)
    count = arguments.at_least("examples", examples, 0)
    target = run_folder.require_empty(folder)
    gradio = require("gradio", extra="demo").__version__
    subject = load_subject(path)
    heading = title or subject.title
    with replace_atomically(target) as made:
        made.mkdir()
        place = _copy_model(path, made / "model")
        if count:
            write_examples(path, count, made / "examples")
        app = _APP.format(
            model=place.relative_to(made).as_posix(),
            title=heading,
            top=top,
            examples='HERE / "examples"' if count else "0",
        )
        texts = {
            "app.py": app,
            "requirements.txt": "\n".join(_list_requirements(path)) + "\n",
            "README.md": _README.format(
                title=json.dumps(heading, ensure_ascii=False),
                heading=heading,
                description=subject.description,
                gradio=gradio,
                python=".".join(platform.python_version_tuple()[:2]),
            ),
        }
        for name, content in texts.items():
            (made / name).write_text(content, encoding="utf-8")
    on_message(f"wrote {target}: try it with `python {target / 'app.py'}`")
    return target


def _copy_model(path: Path, folder: Path) -> Path:
    """Copy a classifier without the paths of this machine; return the file or folder to load."""
    if path.is_dir() and not is_exported(path):
        return copy_run(path, folder)
    if path.is_dir():
        return Path(shutil.copytree(path, folder / path.name))
    folder.mkdir()
    beside = [path.with_suffix(".bin"), path.with_name(f"{path.name}.json")]
    for file in [path, *filter(Path.is_file, beside)]:
        shutil.copy(file, folder / file.name)
    return folder / path.name


def copy_run(run: Path, folder: Path) -> Path:
    """Copy the files that predicting with a run needs, without the paths of this machine."""
    folder.mkdir()
    shutil.copy(run / "model.keras", folder)
    config = run / "config.json"
    if not config.is_file():
        return folder
    places = public_files.find_places(run_files.read_json(config))
    for file in (config, run / "metrics.json"):
        if file.is_file():
            text = public_files.clean_json(run_files.read_text(file), places)
            (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def _list_requirements(path: Path) -> list[str]:
    """Return the lines of requirements.txt; Gradio's version is the Space's `sdk_version`."""
    extras = ["demo"]
    if is_exported(path):
        extras += formats.get(Predictor(path).metadata.format).NEEDS.values()
    elif _needs_kerashub(path):
        extras.append("hub")
    tlkit = f"tlkit[{','.join(dict.fromkeys(extras))}]"
    pinned = package_versions("keras", "tensorflow")  # a Space runs on TensorFlow, the default
    return [f"{tlkit}{_pin_tlkit()}", *(f"{name}=={each}" for name, each in pinned.items())]


def _pin_tlkit() -> str:
    """Return the requirement for this version of tlkit, or for its commit in a repository."""
    recorded: dict[str, Any] = json.loads(
        distribution("tlkit").read_text("direct_url.json") or "{}"
    )
    source = recorded.get("vcs_info")
    if source is None:
        return f"=={version('tlkit')}"
    return f" @ {source['vcs']}+{recorded['url']}@{source['commit_id']}"


def _needs_kerashub(path: Path) -> bool:
    """Return whether a run's backbone is a preset of KerasHub."""
    config = (path if path.is_dir() else path.parent) / "config.json"
    if not config.is_file():
        return False
    with run_files.explain_damage(config):
        experiment = run_files.read_json(config).get("experiment") or {}
        backbone = str(experiment.get("backbone", ""))
    return bool(backbone) and backbone not in SPECS and not backbone.endswith(".keras")
