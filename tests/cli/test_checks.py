"""What does not exist is named at once, before Keras is imported."""

from pathlib import Path

import pytest

from tlkit.cli import app, checks
from tlkit.errors import ConfigError
from tlkit.experiments.experiment import Experiment

# `run` and `photos` are folders, and `new.csv`, which is written to, does not exist
_WRONG = {
    "predict nosuch photos": "`--model` must be a run's folder, a .keras file or an exported file, "
    "got 'nosuch': no such file or folder.",
    "predict run nosuch --csv new.csv": "`--files` must be image files, or folders of them, got "
    "'nosuch': no such file or folder.",
    "predict run photos --csv nodir/x.csv": "`--csv` must be a .csv file in an existing folder",
    "predict run photos --parquet nodir/x.parquet": "`--parquet` must be a .parquet file in an",
    "evaluate nosuch photos": "got 'nosuch': no such file or folder.",
    "evaluate run nosuch": "or 'mnist', got 'nosuch': no such file.",
    "compare run nosuch": "`--models` must be a run's folder, a .keras file or an exported file",
    "compare run photos --data minst": "got 'minst': no such file. Did you mean 'mnist'?",
    "embed nosuch photos --out new.csv": "must be a run's folder or a .keras file, got 'nosuch'",
    "embed run nosuch --out new.csv": "`--files` must be image files",
    "embed run photos --out nodir/x.csv": "`--out` must be a .parquet or .npz or .csv file in an",
    "audit nosuch photos": "must be a run's folder or a .keras file, got 'nosuch'",
    "audit run nosuch": "got 'nosuch': no such file.",
    "audit run photos --csv nodir/x.csv": "`--csv` must be a .csv file in an existing folder",
    "export nosuch --format onnx": "`--run` must be a run's folder or a .keras file, got 'nosuch'",
    "report nosuch": "`--run` must be a run's folder, got 'nosuch': no such folder.",
    "verify nosuch": "`--run` must be a run's folder, got 'nosuch': no such folder.",
    "push nosuch me/flowers": "`--run` must be a run's folder, got 'nosuch': no such folder.",
    "serve nosuch": "`--model` must be a run's folder, a .keras file or an exported file",
    "demo nosuch": "`--model` must be a run's folder, a .keras file or an exported file",
    "train nosuch --out new": "`--data` must be a folder with a subfolder for each class",
    "train photos --add nosuch --out new": "`--add` must be folders with a subfolder for each",
    "inspect nosuch": "got 'nosuch': no such file.",
    "inspect nosuch.npz": "got 'nosuch.npz': no such file.",
    "probe nosuch": "got 'nosuch': no such file.",
    "tune nosuch --out new": "got 'nosuch': no such file.",
}


def test_what_does_not_exist_is_named_before_keras_is_imported(run_python, tmp_path: Path) -> None:
    for name in ("run", "photos"):
        (tmp_path / name).mkdir()
    code = (
        f"import contextlib, io, os, sys; os.chdir({str(tmp_path)!r})\n"
        "from tlkit.cli import app\n"
        f"for words in {list(_WRONG)!r}:\n"
        "    shown, printed = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stderr(shown), contextlib.redirect_stdout(printed):\n"
        "        code = app.main(words.split())\n"
        "    heavy = {'keras', 'tensorflow', 'sklearn', 'matplotlib'}\n"
        "    loaded = sorted(heavy & sys.modules.keys())\n"
        "    message = ' '.join(shown.getvalue().split())\n"
        "    print(code, loaded, repr(printed.getvalue()), message)\n"
    )
    lines = run_python(code).splitlines()
    for (words, wanted), line in zip(_WRONG.items(), lines, strict=True):
        assert line.startswith(f"{app.WRONG_ARGUMENTS} [] '' tlkit: "), (words, line)
        assert wanted in line, (words, line)
    assert {each.name for each in tmp_path.iterdir()} == {"photos", "run"}


def test_one_file_of_several_may_be_missing(tmp_path: Path) -> None:
    checks.check_files([str(tmp_path / "nosuch"), str(tmp_path)])


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", ""])
def test_a_name_that_no_file_can_have_does_not_exist(name: str) -> None:
    for check in (checks.check_model, checks.check_run, checks.check_images):
        with pytest.raises(ConfigError, match="no such"):
            check(name)
    with pytest.raises(ConfigError, match="no such"):
        checks.check_files([name])


def test_a_data_set_and_an_npz_file_are_images(tmp_path: Path) -> None:
    file = tmp_path / "small.npz"
    file.touch()
    checks.check_experiment(Experiment("digits", add=(str(tmp_path),)))
    checks.check_images(str(file))
