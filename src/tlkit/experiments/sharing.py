"""Push a run to the Hugging Face Hub, and pull a run from there, as a model repository."""

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, regular_files, text
from tlkit._internal.files import rename, replace_atomically
from tlkit._internal.optional import require
from tlkit._internal.signatures import check_arguments
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DownloadError
from tlkit.experiments import checksums, hub_errors, public_files, run_files, run_folder
from tlkit.experiments.export_records import FOLDER

CARD, SUMS = "README.md", checksums.NAME
_TEXTS = ("config.json", "metrics.json", "history.csv")
_PATTERNS = ["model.keras", *_TEXTS, CARD, SUMS, "*.png", f"{FOLDER}/*"]
_PICTURE = re.compile(r"\]\(([\w-]+\.png)\)")
_HOW_TO_USE = "## How to use\n\n"


@dataclass(frozen=True, kw_only=True)
class Push:
    """The result of sending a run to the Hugging Face Hub.

    Attributes:
        url: The page of the repository.
        private: Whether only its owners can see it.
        commit: The commit, which is a `revision` for `pull`.
        files: The name and size in bytes of each file.
    """

    url: str
    private: bool
    commit: str
    files: dict[str, int]

    def __str__(self) -> str:
        size = text.byte_size(sum(self.files.values()))
        who = "private" if self.private else "public"
        count = text.plural(len(self.files), "file")
        return f"pushed {count}, {size}, to {self.url} ({who}), commit {self.commit}"

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as values that JSON can hold."""
        return dict(vars(self))


@check_arguments
def push(
    run: str | Path,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> Push:
    """Send a run to a model repository of the Hugging Face Hub, which is created if needed.

    The repository gets the classifier, its model card as `README.md` with the figures in it,
    settings, metrics, exports, and `SHA256SUMS`. Absolute paths are replaced by their last part.
    The list of the run's images (`split.csv`), the report, and pictures of your images are not
    sent.

    Args:
        run: The run's folder.
        repo: The repository, such as "me/flowers".
        private: Whether only you can see the repository. An existing public one is refused then.
        token: An access token that may write; by default that of `hf auth login`, or HF_TOKEN.
        on_message: Is called with warnings before the files are sent, and with the result.

    Raises:
        ConfigError: It is not a run, the repository's name is wrong, or the Hub denies access.
        DownloadError: The Hub can't be reached.
        MissingExtraError: huggingface_hub is not installed.
    """
    folder = arguments.path("run", run)
    _check_run(folder)
    hub = require("huggingface_hub", extra="card")
    with temporary_folder() as temporary, hub_errors.translate(repo):
        if token is None and hub.get_token() is None:
            raise ConfigError(
                f"Pushing needs an access token for {hub.constants.ENDPOINT}: run `hf auth login`, "
                "or set HF_TOKEN to a token that may write."
            )
        hub.utils.validate_repo_id(repo)
        files = _prepare(folder, temporary, repo)
        sizes = {name: file.stat().st_size for name, file in files.items()}
        for message in _find_leftovers(folder, files):
            on_message(message)
        api = hub.HfApi(token=token, library_name="tlkit")
        made = api.create_repo(repo, private=private, exist_ok=True)
        is_private = bool(api.model_info(made.repo_id).private)
        if private and not is_private:
            raise ConfigError(
                Argument("repo"),
                f" must be new or private, got {show(made.repo_id)}, which is public: "
                "nothing was sent.",
            )
        done = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=temporary,
            commit_message="Push a run of tlkit",
            delete_patterns=f"{FOLDER}/*",
        )
    found = Push(
        url=str(made),
        private=is_private,
        commit=done.oid,
        files=sizes,
    )
    on_message(found)
    return found


@check_arguments
def pull(
    repo: str,
    folder: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
) -> Path:
    """Download a run that `push` sent to the Hugging Face Hub; return its folder.

    The folder can be used with `tlkit predict`, `evaluate`, `export` and `demo`. Every file is
    compared with the SHA-256 that was sent with it, except the card, which may be edited on the
    Hub.

    Args:
        repo: The repository, such as "me/flowers".
        folder: The folder to write to; it must be new or empty.
        revision: A branch, tag or commit; by default the newest commit.
        token: An access token, for a private repository; by default that of `hf auth login`, or
            HF_TOKEN.

    Raises:
        ConfigError: The folder is not empty, there is no such repository, or it holds no run.
        DownloadError: The Hub can't be reached, or a file differs from the file that was sent.
        MissingExtraError: huggingface_hub is not installed.
    """
    target = run_folder.require_empty(folder)
    hub = require("huggingface_hub", extra="card")
    with temporary_folder(target.parent) as temporary:
        with hub_errors.translate(repo):
            hub.utils.validate_repo_id(repo)
            api = hub.HfApi(token=token, library_name="tlkit")
            api.snapshot_download(
                repo, revision=revision, local_dir=temporary, allow_patterns=_PATTERNS
            )
        names = _verify(temporary, repo)
        with replace_atomically(target) as made:
            for name in names:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                rename(temporary / name, made / name)
    return target


def _check_run(folder: Path) -> None:
    if (folder / SUMS).is_file():
        checksums.verify_run(folder)
    for name, fix in (
        ("model.keras", "train one with `tlkit train`"),
        ("config.json", "train one with `tlkit train`"),
        ("metrics.json", "train one with `tlkit train`"),
        ("model_card.md", "write it with `tlkit report`, with huggingface_hub installed"),
    ):
        if not (folder / name).is_file() and not (
            name == "model_card.md" and (folder / CARD).is_file()
        ):
            raise ConfigError(
                Argument("run"),
                f" must be a run's folder with {name}, got {str(folder)!r}: there is none; {fix}.",
            )


def _prepare(run: Path, folder: Path, repo: str) -> dict[str, Path]:
    """Write the files to send to a folder, without paths of this machine; return them by name."""
    places = public_files.find_places(run_files.read_json(run / "config.json"))
    places.append(str(run.resolve()))
    card = run / "model_card.md"
    card = card if card.is_file() else run / CARD
    with run_files.explain_damage(card):  # it may have been edited
        content = regular_files.read_text(card)
    cleaned = public_files.remove_paths(content, places)
    _write(folder / CARD, _add_commands(cleaned, repo))
    names = ["model.keras", *_TEXTS, *_PICTURE.findall(content)]
    if (run / FOLDER).is_dir():
        exported = sorted(path for path in (run / FOLDER).rglob("*") if path.is_file())
        names += [path.relative_to(run).as_posix() for path in exported]
    for name in names:
        if not (run / name).is_file():
            continue
        if name.endswith(".json"):
            _write(folder / name, public_files.clean_json(run_files.read_text(run / name), places))
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, folder / name)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    sums = {name: (checksums.hash_file(file),) for name, file in files.items() if name != CARD}
    _write(folder / SUMS, checksums.format_sums(sums))
    return {**files, SUMS: folder / SUMS}


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def _add_commands(card: str, repo: str) -> str:
    """Return a model card with the commands to download the run."""
    if "tlkit pull" in card:
        return card
    commands = f"```sh\ntlkit pull {repo} run\ntlkit predict run photo.jpg\n```\n\n"
    return card.replace(_HOW_TO_USE, f"{_HOW_TO_USE}{commands}", 1)


def _find_leftovers(run: Path, files: dict[str, Path]) -> Iterator[str]:
    """Yield a warning for each file that still contains a path of this machine."""
    config = run_files.read_json(run / "config.json")
    places = [*public_files.find_places(config), str(run.resolve())]
    for name, file in files.items():
        found = {
            place
            for content in _read_contents(file)
            for place in public_files.find_leftovers(content, places)
        }
        if found:
            yield f"{name} holds paths of this machine: {text.join_first(sorted(found))}"


def _read_contents(file: Path) -> Iterator[bytes]:
    """Yield the content of a file, or of the JSON files in an archive."""
    if not zipfile.is_zipfile(file):
        yield file.read_bytes()
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            if member.endswith(".json"):
                yield archive.read(member)


def _verify(folder: Path, repo: str) -> list[str]:
    """Return the names of the files of a downloaded run, after comparing them with the list.

    Raises:
        ConfigError: The download is not a run.
        DownloadError: A file is missing or differs.
    """
    if not (folder / SUMS).is_file() or not (folder / "model.keras").is_file():
        raise ConfigError(
            Argument("repo"),
            f" must be a run that `tlkit push` sent, got {show(repo)}, which is not one.",
        )
    try:
        sums = checksums.read(folder)
    except ConfigError as error:
        raise DownloadError(
            f"{SUMS} of {repo!r} is missing or differs from what was sent."
        ) from error
    for name, digests in sums.items():
        if not (folder / name).is_file() or checksums.hash_file(folder / name) not in digests:
            raise DownloadError(
                f"{name!r} of {repo!r} is missing or differs from what was sent. Pull again; if it "
                "still differs, the repository was changed after the push."
            )
    if "model.keras" not in sums:
        raise DownloadError(f"{SUMS} of {repo!r} does not list model.keras: push the run again.")
    return [*sums, SUMS, *([CARD] if (folder / CARD).is_file() else [])]
