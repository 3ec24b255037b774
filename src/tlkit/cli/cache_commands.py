"""The commands on stored features: `tlkit cache list`, `tlkit cache prune`, `tlkit cache where`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclopts

import tlkit
from tlkit.cli.options import DEFAULT_OUTPUT, Output

if TYPE_CHECKING:
    from tlkit.caching.store import EntryInfo, Store


app = cyclopts.App(
    name="cache",
    help="List or delete the features that commands have stored.",
    sort_key=99,  # the last of the commands
)


@app.command(name="list")
def list_entries(*, folder: Path | None = None, output: Output = DEFAULT_OUTPUT) -> dict[str, Any]:
    """List what is stored, the last used first.

    Args:
        folder: The folder of features; by default that of all commands.
    """
    store = _open(folder)
    entries = store.entries()
    for info in entries:
        output.print(_describe(info))
    total = sum(info.bytes for info in entries)
    output.print(f"{len(entries):,} entries of {total / 1e6:,.1f} MB in {store.folder}")
    return {"folder": str(store.folder), "entries": [_to_dict(info) for info in entries]}


@app.command
def prune(
    *,
    older_than_days: float | None = None,
    keep_bytes: int | None = None,
    key: str | None = None,
    folder: Path | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Delete stored features.

    Args:
        older_than_days: Delete the features that were not used for this long.
        keep_bytes: Delete the features used longest ago until no more than this is left.
        key: Delete this entry.
        folder: The folder of features; by default that of all commands.
    """
    store = _open(folder)
    freed = store.prune(older_than_days=older_than_days, keep_bytes=keep_bytes, key=key)
    output.print(f"deleted {freed / 1e6:,.1f} MB in {store.folder}")
    return {"folder": str(store.folder), "bytes": freed}


@app.command
def where(*, output: Output = DEFAULT_OUTPUT) -> dict[str, Any]:
    """Print the folder of stored features; the environment variable TLKIT_CACHE names another."""
    folder = _open(None).folder
    output.print(str(folder))
    return {"folder": str(folder)}


def _open(folder: Path | None) -> "Store":
    store = tlkit.caching.Store
    return store() if folder is None else store(folder=folder)


def _describe(info: "EntryInfo") -> str:
    facts = info.facts  # of an older version, or of a program that uses the store, it has others
    used = f"{info.bytes / 1e6:,.1f} MB, used {info.last_used.astimezone():%Y-%m-%d %H:%M}"
    if "kind" in facts:
        return f"{info.key}: {facts['kind']}, {used}"
    size = " x ".join(map(str, facts.get("image", ())[:-1]))
    layer, count = facts.get("last_layer", "?"), len(facts.get("columns", ()))
    upto = f"{count} layers up to {layer}" if count > 1 else f"after {layer}"
    engine = facts.get("engine", "?")
    return (
        f"{info.key}: {info.images:,} images of {size}, {upto}, by "
        f"{engine[0]}, {facts.get('dtype', '?')}, {used}"
    )


def _to_dict(info: "EntryInfo") -> dict[str, Any]:
    return {**vars(info), "last_used": info.last_used.isoformat()}
