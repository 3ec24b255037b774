import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.distributed.conftest import write_manifest

from tlkit import sources
from tlkit.distributed import feature_files
from tlkit.distributed.manifest import Part
from tlkit.distributed.reports import collect
from tlkit.distributed.storage import Location
from tlkit.distributed.worker import Job, Worker
from tlkit.errors import TlkitError

Make = Callable[..., tuple[Job, list[Part]]]


def run(job: Job, parts: list[Part]) -> list[dict[str, Any]]:
    """Run parts by a worker in this process; return its reports."""
    worker = Worker(job)
    reports = []
    for part in parts:
        batch = {name: np.array([value]) for name, value in asdict(part).items()}
        reports.append(json.loads(worker(batch)["report"][0]))
    return reports


def features_of(job: Job, reports: list[dict[str, Any]]) -> np.ndarray:
    """Return the features of all rows."""
    return np.concatenate(
        [feature_files.read_features(job.out.join(each["file"])) for each in reports]
    )


@pytest.fixture
def copy(photos: Path, tmp_path: Path) -> Path:
    """The photos in a folder that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "copy"))


def test_digests_are_those_of_one_machine(photos: Path, make_job: Make) -> None:
    job, parts = make_job(photos / "photos.parquet", rows=60)
    [report] = run(job, parts)
    rows = feature_files.read(job.out.join(report["file"]))
    data = sources.from_manifest(photos / "photos.parquet", image_size=24)
    assert rows is not None
    np.testing.assert_array_equal(rows.digests, data.images.digests)
    assert report["labels"] == data.counts


def test_parts_of_any_size_have_the_same_features(photos: Path, make_job: Make) -> None:
    one, whole = make_job(photos / "photos.parquet", rows=60)
    expected = features_of(one, run(one, whole))
    for file in one.out.list_files(".parquet"):
        file.remove()
    job, parts = make_job(photos / "photos.parquet", rows=7)
    found = features_of(job, run(job, parts))
    assert found.dtype == "float16"
    np.testing.assert_array_equal(found.view("uint16"), expected.view("uint16"))


def test_what_is_there_is_neither_run_nor_read(photos: Path, make_job: Make) -> None:
    job, parts = make_job(photos / "photos.parquet")
    run(job, parts)
    again, parts = make_job(photos / "photos.parquet", with_model=False)
    reports = run(again, parts)
    assert [(each["computed"], each["read_bytes"]) for each in reports] == [(0, 0)] * 3
    assert sum(each["images"] for each in reports) == 60


def test_a_file_that_changed_is_run_again_and_others_are_not(copy: Path, make_job: Make) -> None:
    job, parts = make_job(copy / "photos.parquet")
    before = features_of(job, run(job, parts))
    changed = copy / "dog" / "04.jpg"
    Image.fromarray(np.full((24, 24, 3), 7, "uint8")).save(changed)
    os.utime(changed, ns=(1, 1))
    reports = run(*make_job(copy / "photos.parquet"))
    assert [each["computed"] for each in reports] == [1, 0, 0]
    after = features_of(job, reports)
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [4]


def test_images_in_another_order_and_folder_are_read_but_not_run(
    photos: Path, copy: Path, make_job: Make
) -> None:
    job, parts = make_job(photos / "photos.parquet")
    features = features_of(job, run(job, parts))
    paths = sorted(copy.glob("*/*.jpg"), key=lambda path: path.stem, reverse=True)
    rows = [(f"{path.parent.name}/{path.name}", path.parent.name) for path in paths]
    write_manifest(copy / "reversed.parquet", rows)
    job, parts = make_job(copy / "reversed.parquet", with_model=False)
    reports = run(job, parts)
    assert sum(each["computed"] for each in reports) == 0
    assert sum(each["read_bytes"] for each in reports) > 0
    np.testing.assert_array_equal(features_of(job, reports), features[::-1])


def test_an_image_that_is_there_twice_is_run_once(copy: Path, make_job: Make) -> None:
    shutil.copy(copy / "cat" / "00.jpg", copy / "cat" / "twin.jpg")
    write_manifest(copy / "twins.parquet", [("cat/00.jpg", "cat"), ("cat/twin.jpg", "cat")])
    job, parts = make_job(copy / "twins.parquet")
    reports = run(job, parts)
    assert (reports[0]["computed"], reports[0]["images"]) == (1, 2)
    one, other = features_of(job, reports)
    np.testing.assert_array_equal(one, other)


def test_bad_files_are_listed_as_on_one_machine(copy: Path, make_job: Make) -> None:
    whole = (copy / "cat" / "00.jpg").read_bytes()
    (copy / "cat" / "short.jpg").write_bytes(whole[:300])
    (copy / "cat" / "empty.jpg").write_bytes(b"")
    (copy / "cat" / "text.jpg").write_text("no image")
    rows: list[tuple[str | None, str | None]] = [
        ("cat/short.jpg", "cat"),
        ("cat/00.jpg", "cat"),
        ("cat/empty.jpg", "cat"),
        ("cat/text.jpg", "cat"),
        ("cat/none.jpg", "cat"),
        ("dog/01.jpg", "dog"),
        ("dog/04.jpg", None),
    ]
    write_manifest(copy / "bad.parquet", rows)
    data = sources.from_manifest(
        copy / "bad.parquet", image_size=24, unreadable="skip", max_unreadable=0.9
    )
    job, parts = make_job(copy / "bad.parquet")
    [report] = run(job, parts)
    assert report["problems"] == [[each.path, each.reason] for each in data.problems]
    assert (report["images"], len(report["problems"])) == (2, 5)
    [again] = run(*make_job(copy / "bad.parquet", with_model=False))
    assert again["problems"] == report["problems"]


def test_a_file_that_could_not_be_read_is_tried_again(
    copy: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(copy / "two.parquet", [("cat/00.jpg", "cat"), ("dog/01.jpg", "dog")])
    with monkeypatch.context() as patch:

        def fail(self: Location, max_bytes: int = 0) -> bytes:
            raise OSError(5, "slow down")

        patch.setattr(Location, "read", fail)
        [report] = run(*make_job(copy / "two.parquet"))
    assert [reason for _, reason in report["problems"]] == ["slow down"] * 2
    [report] = run(*make_job(copy / "two.parquet"))
    assert (report["problems"], report["computed"]) == ([], 2)


def test_paths_out_of_the_folder_need_consent(copy: Path, make_job: Make) -> None:
    inside = copy / "inside"
    inside.mkdir()
    write_manifest(
        inside / "out.parquet", [("../cat/00.jpg", "cat"), (str(copy / "dog/01.jpg"), "dog")]
    )
    [report] = run(*make_job(inside / "out.parquet"))
    assert [reason for _, reason in report["problems"]] == ["its path leads out of the folder"] * 2
    [report] = run(*make_job(inside / "out.parquet", outside_paths=True))
    assert report["images"] == 2


def test_a_damaged_file_of_features_is_written_again(photos: Path, make_job: Make) -> None:
    job, parts = make_job(photos / "photos.parquet")
    reports = run(job, parts)
    expected = features_of(job, reports)
    damaged = Path(job.out.join(reports[1]["file"]).text)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    again = run(*make_job(photos / "photos.parquet"))
    assert [each["computed"] for each in again] == [0, 20, 0]
    np.testing.assert_array_equal(features_of(job, again), expected)


def test_files_of_16_bits_need_white(copy: Path, make_job: Make) -> None:
    deep = np.full((24, 24), 4000, "uint16")
    Image.fromarray(deep).save(copy / "cat" / "deep.png")
    write_manifest(copy / "deep.parquet", [("cat/deep.png", "cat"), ("dog/01.jpg", "dog")])
    [report] = run(*make_job(copy / "deep.parquet"))
    assert report["problems"] == [
        ["cat/deep.png", "it has more than 8 bits; say what is white in it, such as white=65535"]
    ]


def test_a_worker_s_error_is_reported(photos: Path, make_job: Make) -> None:
    job, parts = make_job(photos / "photos.parquet")
    gone = Location(str(photos / "none.parquet"))
    wrong = Job(
        **{**vars(job), "manifest": type(job.manifest)(**{**vars(job.manifest), "files": (gone,)})}
    )
    [report] = run(wrong, parts[:1])
    assert report["error"] == "DataError"
    assert "none.parquet" in report["message"]


def test_an_error_of_another_library_is_reported(
    photos: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, parts = make_job(photos / "photos.parquet")

    def fail(self: Worker, *given: Any) -> int:
        raise MemoryError("no room")

    monkeypatch.setattr(Worker, "_fill", fail)
    reports = iter(run(job, parts[:1]))
    with pytest.raises(TlkitError, match=r"A worker failed: MemoryError: no room \(worker "):
        collect(reports, total=20, max_unreadable=0.1, on_progress=lambda done, total: None)
