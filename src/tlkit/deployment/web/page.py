"""Write the page: as a folder for a web server, and as one file that needs no server."""

import base64
import gzip
import hashlib
import re
import shutil
from functools import cache
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from tlkit._internal.text import join_first
from tlkit.deployment.graph import Graph
from tlkit.deployment.predictor import MAX_PIXELS
from tlkit.deployment.runtimes import WEB_MODEL, WEB_PAGE
from tlkit.deployment.web.drawing import describe_drawing
from tlkit.deployment.web.runtime import BINARY, LICENSES, PACKAGE, SCRIPT, find_runtime

STANDALONE = "standalone.html"
"""The page as one file, which a browser opens from a disk."""

MAX_STANDALONE = 25_000_000
"""The maximum size of this file in bytes, of which the runtime takes 5 million."""

_COPIES = {SCRIPT: f"{PACKAGE}.js", BINARY: f"{PACKAGE}.wasm"}  # some servers don't know .mjs
_NOTICES = LICENSES[1]
_SCRIPTS = ("orientation", "png", "resize", "pictures", "classifier", "drawing", "app")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', flags=re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|class|const)", flags=re.MULTILINE)
_POLICY = {  # no data of a visitor can be sent anywhere
    "default-src": "'none'",
    "img-src": "blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def write_page(graph: Graph, folder: Path) -> None:
    """Write the files of a page to a folder, beside its `model.onnx`.

    Args:
        graph: The classifier, with the runtime that it needs in a browser.
        folder: The folder of the page.
    """
    runtime = graph.web_runtime or find_runtime()
    licenses = runtime.licenses
    drawing = describe_drawing(graph.metadata, graph.test_images)
    values = {
        "about": graph.metadata.to_dict(),
        "title": "Image classifier",
        "introduction": _introduce(graph.metadata.class_names),
        "drawing": drawing,
        "runtime": {
            "name": PACKAGE,
            "version": runtime.version,
            "license": licenses["LICENSE"],
        },
        "settings": {
            "about": graph.metadata.to_dict(),
            "drawing": drawing,
            "max_pixels": MAX_PIXELS,
        },
    }
    for name, copy in _COPIES.items():
        shutil.copyfile(runtime.folder / name, folder / copy)
    (folder / "licenses").mkdir()
    for name, text in licenses.items():
        (folder / "licenses" / name).write_text(text, encoding="utf-8")
    standalone = _render_standalone(folder, values)
    if len(standalone) <= MAX_STANDALONE:
        (folder / STANDALONE).write_text(standalone, encoding="utf-8")
    _write_folder(folder, values, has_standalone=len(standalone) <= MAX_STANDALONE)


def _introduce(names: tuple[str, ...]) -> str:
    return f"Tells {len(names):,} classes apart: {join_first(names, limit=10)}."


def _write_folder(folder: Path, values: dict[str, Any], *, has_standalone: bool) -> None:
    sources = "'self' 'wasm-unsafe-eval'"
    html = _template().render(
        **values,
        inline=None,
        standalone=STANDALONE if has_standalone else None,
        policy=_write_policy(sources, **{"style-src": "'self'", "connect-src": "'self'"}),
    )
    (folder / WEB_PAGE).write_text(html + "\n", encoding="utf-8")
    (folder / "app.js").write_text(join_scripts(), encoding="utf-8")
    for name in ("file.js", "style.css"):
        (folder / name).write_text(_read(name), encoding="utf-8")


def _render_standalone(folder: Path, values: dict[str, Any]) -> str:
    script, style = f"\n{join_scripts()}", f"\n{_read('style.css')}"
    packed = {name: folder / name for name in (*_COPIES.values(), WEB_MODEL)}
    packed[_NOTICES] = folder / "licenses" / _NOTICES
    inline = SimpleNamespace(
        script=Markup(script),  # noqa: S704  # our own files
        style=Markup(style),  # noqa: S704
        files={name: _pack(file) for name, file in packed.items()},
    )
    sources = f"'sha256-{_digest(script)}' blob: 'wasm-unsafe-eval'"
    policy = _write_policy(sources, **{"style-src": "'unsafe-inline'"})
    return _template().render(**values, inline=inline, standalone=None, policy=policy) + "\n"


def _write_policy(scripts: str, **more: str) -> Markup:
    rules = {**_POLICY, "script-src": scripts, **more}
    return Markup("; ".join(f"{name} {value}" for name, value in rules.items()))  # noqa: S704


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _pack(file: Path) -> str:
    return base64.b64encode(gzip.compress(file.read_bytes(), 9, mtime=0)).decode()


@cache
def join_scripts() -> str:
    """Return the page's modules as one script, each after the modules that it imports."""
    whole = "\n".join(_read(f"{name}.js") for name in _SCRIPTS)
    return _EXPORT.sub("", _IMPORT.sub("", whole))


def _read(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    loader = PackageLoader("tlkit.deployment.web")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")
