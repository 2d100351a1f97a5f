"""The notebook about a run: executed from top to bottom, its numbers those of the run."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import nbformat
import psutil
import pytest
import yaml
from PIL import Image

from segtf.report import main
from segtf.reports.notebook import notebook
from segtf.reports.notebook import runs as study_runs
from segtf.reports.notebook.kernel import execute_notebook
from segtf.reports.notebook.material import read_material
from segtf.reports.notebook.notebook import Cell, make_notebook
from segtf.reports.runs import read_run
from segtf.scoring.faults import faults_of
from segtf.scoring.split_scores import read_shown_scores
from voc_builder.base.errors import UserError

HEADINGS = [
    "1. Task and data",
    "2. Pre-processing and augmentation",
    "3. Hypotheses",
    "4. Training",
    "5. The network",
    "6. Results",
    "7. Post-processing",
    "8. Failures",
    "9. Conclusions",
]
HEAVY = ("saved_model", "backup", "*.jpg", "thumbnails", "report.html", "*.png")
Json = dict[str, Any]


def copied(run: Path, to: Path, *left_out: str) -> Path:
    """A run folder without what a notebook does not read."""
    return shutil.copytree(run, to, ignore=shutil.ignore_patterns(*HEAVY, *left_out))


def change_json(path: Path, **values: Any) -> None:
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8"
    )


def change_config(run: Path, **values: Any) -> None:
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(settings | values))


def outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from cell.outputs


def prose(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def output_of(notebook: Any, code: str) -> str:
    """The plain text that the cell with that code gave."""
    [cell] = [c for c in notebook.cells if c.cell_type == "code" and code in c.source]
    [output] = cell.outputs
    return str(output["text"] if output.output_type == "stream" else output.data["text/plain"])


@pytest.fixture(scope="module")
def beside(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, with another on the same data set beside it that does worse on val."""
    runs = tmp_path_factory.mktemp("artifacts") / "runs"
    tiny = copied(run, runs / "tiny")
    other = copied(run, runs / "other", "*.onnx", "*.keras")
    change_config(other, loss="ce", seed=7)
    change_json(other / "metrics_val.json", miou=0.01)
    # the two images of val leave nothing to try
    tried = {"label": "defect", "what": "hole", "limit": 4, "gain": 0.01, "verdict": "one image"}
    change_json(tiny / "export.json", postprocess_trials=[tried])
    return tiny


@pytest.fixture(scope="module")
def executed(beside: Path) -> Any:
    """The notebook of that run, written by the command where TensorFlow cannot be imported."""
    broken = beside.parent.parent / "broken" / "tensorflow"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('a notebook needs no TensorFlow')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(broken.parent))
        assert main([str(beside), "--notebook"]) == 0
    return nbformat.read(beside / "report.ipynb", as_version=4)


def test_every_cell_has_been_executed_and_none_failed_or_warned(executed: Any) -> None:
    nbformat.validate(executed)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(code) > 15
    kinds = [output.output_type for output in outputs(executed)]
    assert "error" not in kinds
    assert not [o.text for o in outputs(executed) if o.get("name") == "stderr"]


def test_every_section_is_there_with_prose_of_its_own(executed: Any) -> None:
    text = prose(executed)
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    assert "There are 20 images. The network learned from the 16 of train" in text
    assert "none of 20 images is in two splits" in text
    assert "The rarest class is defect" in text
    assert "squeezed to 64 x 64 pixels" in text
    assert "3 random changes (`--augment light`)" in text
    assert "**The weakest class is " in text
    assert "python -m segtf.report" in text


def test_the_name_of_a_run_beside_it_is_no_code(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied(beside, tmp_path / "runs/tiny", "report.ipynb")
    names = ['a"b', "a'b", "a\\b", "a\n```\n# b", 'x"); open("pwned","w"); ("']
    for name in names:
        copied(beside.parent / "other", tmp_path / "runs" / name)
    made = list(notebook.cells(read_material(here), study_runs.sibling_runs(here)))
    [code] = [cell.source for cell in made if "run_table" in cell.source]
    monkeypatch.chdir(here)
    known: Json = {"RUN": Path(), "run": None, "read_run": read_run, "runs": MagicMock()}
    exec(code, known)
    assert sorted(one.name for one in known["tried"][1:]) == sorted(names)
    assert not Path("pwned").exists()
    assert "\n# b" not in "\n".join(cell.source for cell in made)


def test_figures_are_in_the_file_as_pictures_and_it_is_small(executed: Any, beside: Path) -> None:
    found = []
    for output in outputs(executed):
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                encoded = base64.b64decode(output.data[kind])
                found.append(Image.open(io.BytesIO(encoded)).size)
    test = json.loads((beside / "metrics_test.json").read_text())
    # images, augmented, curves, two confusions, failures
    assert len(found) == 6 + bool(test["operating_point"])
    assert all(min(size) > 200 for size in found)
    assert (beside / "report.ipynb").stat().st_size < 5_000_000


def test_scores_are_those_of_the_metrics(executed: Any, beside: Path) -> None:
    scores = [json.loads((beside / f"metrics_{s}.json").read_text()) for s in ("val", "test")]
    lines = output_of(executed, "scores.class_table").splitlines()
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines}
    assert set(rows) == {"class", "mean", *scores[0]["classes"]}

    def written(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    for name in scores[0]["classes"]:
        own = [written(of[key][name]) for of in scores for key in ("iou", "dice")]
        assert rows[name][1::2] == own
    means = [written(of[key]) for of in scores for key in ("miou", "dice_mean")]
    assert rows["mean"][1::2] == means
    interval = scores[0]["intervals"]["miou"]
    assert rows["mean"][2].startswith(f"{interval['low']:.3f}–{interval['high']:.3f}")


def test_runs_are_compared_by_val_alone_the_best_first(executed: Any, beside: Path) -> None:
    table = output_of(executed, "runs.run_table")
    head, first, second = (re.split(r"\s{2,}", line) for line in table.splitlines())
    assert head[:4] == ["run", "loss", "seed", "val mIoU"]
    assert not any("test" in name for name in head)
    assert first[:3] == ["tiny (this one)", "ce + dice", "42"]
    assert second[:4] == ["other", "ce", "7", "0.0100"]
    val = json.loads((beside / "metrics_val.json").read_text())["miou"]
    assert first[3] == f"{val:.4f}"
    assert "**tiny** was chosen, by the best mean IoU on val" in prose(executed)


def test_failures_are_told_a_sentence_each(executed: Any, beside: Path) -> None:
    shown = read_shown_scores(beside / "overlays/scores.json")
    assert shown
    told = output_of(executed, "failures.failure_sentences").splitlines()
    worst = sorted(filter(faults_of, shown.rows), key=lambda image: faults_of(image).rank)
    assert [line.split(":")[0] for line in told] == [f"1. {image.id}" for image in worst]
    assert all(re.search(r"Missed: \*\*|Over-marked: \*\*", t) for t in told)


def test_what_was_tried_for_post_processing_is_shown(executed: Any) -> None:
    assert "1 limit was tried" in prose(executed)
    _, line = output_of(executed, "scores.trial_table").splitlines()
    assert re.split(r"\s{2,}", line) == [
        "defect",
        "holes are filled",
        "4",
        "+0.01000",
        "gains by one image alone",
    ]


def test_a_run_without_test_images_and_without_export_has_its_notebook(
    run: Path, tmp_path: Path
) -> None:
    bare = copied(run, tmp_path / "runs" / "bare", "*.onnx", "export.json", "metrics_test.json")
    about = json.loads((bare / "data.json").read_text())
    change_json(bare / "data.json", images=about["images"] | {"test": 0})
    assert main([str(bare), "--notebook"]) == 0
    bare_notebook = nbformat.read(bare / "report.ipynb", as_version=4)
    assert re.findall(r"^## (.*)$", prose(bare_notebook), re.M) == HEADINGS
    assert "error" not in [output.output_type for output in outputs(bare_notebook)]
    assert "**There is no test split**" in prose(bare_notebook)
    assert "None was tried, as the network was not exported" in prose(bare_notebook)
    assert "nothing was chosen but the epoch" in prose(bare_notebook)
    assert output_of(bare_notebook, "failures.failure_sentences").startswith("1. 0")


def test_without_execution_the_same_run_gives_the_same_bytes(beside: Path, tmp_path: Path) -> None:
    shutil.copytree(beside.parent, tmp_path / "runs")
    run = tmp_path / "runs" / "tiny"
    written = []
    for _ in range(2):
        (run / "report.ipynb").unlink(missing_ok=True)
        assert main([str(run), "--notebook", "--no-execute"]) == 0
        written.append((run / "report.ipynb").read_bytes())
    assert written[0] == written[1]
    assert not list(outputs(nbformat.reads(written[0].decode(), as_version=4)))


def test_a_cell_that_fails_is_one_line_and_leaves_no_notebook(
    beside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = copied(beside, tmp_path / "runs" / "broken", "*.ipynb")
    code = "from pathlib import Path\nfrom segtf.inference.onnx_model import find_model\n"
    code += "find_model(Path('no.onnx'))"
    failing = [Cell("markdown", "## 8. Failures"), Cell("code", "1"), Cell("code", code)]
    monkeypatch.setattr(notebook, "cells", lambda *_: failing)
    assert main([str(run), "--notebook"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cell 3 of the notebook (8. Failures) failed: no.onnx: no such file" in said
    assert not (run / "report.ipynb").exists()
    assert not [path.name for path in run.iterdir() if ".part" in path.name]


def test_a_kernel_that_dies_is_named_with_its_cell(tmp_path: Path) -> None:
    dying = make_notebook(
        [Cell("markdown", "## First"), Cell("code", "1"), Cell("code", "import os; os._exit(3)")]
    )
    with pytest.raises(UserError, match=r"cell 3 of the notebook \(First\): its Python ended"):
        execute_notebook(dying, tmp_path)


def test_ctrl_c_ends_the_kernel_too(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = f"import os, time\nopen('{begun}', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    sleeping = make_notebook([Cell("code", code)])

    def interrupt() -> None:
        while not begun.exists() or not begun.read_text():
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            execute_notebook(sleeping, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not psutil.pid_exists(int(begun.read_text()))


def test_runs_that_cannot_be_compared_are_all_named(
    beside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = copied(beside, tmp_path / "stranger", "*.onnx", "*.keras")
    change_json(stranger / "data.json", sha256="ab" * 32)
    unfinished = copied(beside, tmp_path / "unfinished", "*.onnx", "metrics_val.json")
    nowhere = tmp_path / "nowhere"
    others = [str(path) for path in (stranger, unfinished, nowhere)]
    assert main([str(beside), "--notebook", "--runs", *others]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert f"{stranger}: trained on another data set (SHA-256 abababab" in said[0]
    assert f"{unfinished}: an unfinished run (no metrics_val.json)" in said[1]
    assert f"{nowhere}: not a run folder" in said[2]


def test_flags_of_the_notebook_want_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--runs", "other"]) == 2
    assert "--runs: belongs to --notebook" in capsys.readouterr().err
    assert main(["run", "--no-execute"]) == 2
    assert "--no-execute: belongs to --notebook" in capsys.readouterr().err
