"""The notebook about a run: executed from top to bottom, its numbers those of the run."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

from segtf.report import main
from segtf.reports.notebook import data, failures, findings, notebook, runs, show
from segtf.reports.notebook.notebook import Cell, execute_notebook, make_notebook
from segtf.reports.runs import Run, read_run
from segtf.run.config import TrainConfig
from segtf.scoring.metrics import confusion
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

CLASSES = ["__background__", "fishka", "defect"]
HEADINGS = [
    "1. Task and data",
    "2. Pre-processing and augmentation",
    "3. Runs on this data set",
    "4. Training",
    "5. Size and batch",
    "6. Results",
    "7. Export and post-processing",
    "8. Failures",
    "9. Conclusions",
]
HEAVY = ("saved_model", "backup", "*.jpg", "thumbnails", "report.html")
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


def shown(notebook: Any, code: str) -> str:
    """The HTML or Markdown that the cell with that code displays."""
    [cell] = [c for c in notebook.cells if c.cell_type == "code" and code in c.source]
    [output] = cell.outputs
    return str(output.data.get("text/html") or output.data["text/markdown"])


def cells_of(html: str) -> list[list[str]]:
    """The rows of a table."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]


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
    assert len(code) > 10
    kinds = [output.output_type for output in outputs(executed)]
    assert "error" not in kinds
    assert not [o.text for o in outputs(executed) if o.get("name") == "stderr"]


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
    with pytest.raises(UserError, match=r"cell 3 of the notebook \(First\): the kernel ended"):
        execute_notebook(dying, tmp_path)


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


def test_every_section_is_there(executed: Any) -> None:
    assert re.findall(r"^## (.*)$", prose(executed), re.M) == HEADINGS
    assert "python -m segtf.report" in prose(executed)


def test_pictures_are_inside_the_file_and_it_is_small(executed: Any, beside: Path) -> None:
    found = [
        base64.b64decode(data)
        for output in outputs(executed)
        for data in (
            output.get("data", {}).get("image/jpeg", ""),
            *re.findall(r"base64,([^\"]+)", output.get("data", {}).get("text/html", "")),
        )
        if data
    ]
    sizes = [Image.open(io.BytesIO(encoded)).size for encoded in found]
    assert len(sizes) >= 6  # annotated, augmented, curves, two confusions, failures
    assert all(min(size) > 100 for size in sizes)
    html = "".join(str(output.get("data", {}).get("text/html", "")) for output in outputs(executed))
    assert not re.findall(r'src="(?!data:)', html)
    assert (beside / "report.ipynb").stat().st_size < 5_000_000


def test_scores_are_those_of_the_metrics(executed: Any, beside: Path) -> None:
    html = shown(executed, '"scores"')
    for split in ("val", "test"):
        values = json.loads((beside / f"metrics_{split}.json").read_text())
        assert f"{values['miou']:.4f}" in html


def test_runs_are_compared_by_val_alone_the_best_first(executed: Any, beside: Path) -> None:
    head, first, second = cells_of(shown(executed, "runs.run_table"))
    assert head[:4] == ["run", "loss", "seed", "val mIoU"]
    assert not any("test" in name for name in head)
    val = json.loads((beside / "metrics_val.json").read_text())["miou"]
    assert first[:4] == ["tiny (this one)", "ce + dice", "42", f"{val:.4f}"]
    assert second[:4] == ["other", "ce", "7", "0.0100"]


def test_tried_limits_are_shown(executed: Any) -> None:
    _, row = cells_of(shown(executed, "runs.trial_table"))
    assert row[:4] == ["defect", "hole", "4", "+0.01000"]


def test_a_run_without_test_images_and_without_export_has_its_notebook(
    run: Path, tmp_path: Path
) -> None:
    bare = copied(run, tmp_path / "runs" / "bare", "*.onnx", "export.json", "metrics_test.json")
    about = json.loads((bare / "data.json").read_text())
    change_json(bare / "data.json", images=about["images"] | {"test": 0})
    assert main([str(bare), "--notebook"]) == 0
    written = nbformat.read(bare / "report.ipynb", as_version=4)
    assert re.findall(r"^## (.*)$", prose(written), re.M) == HEADINGS
    assert "error" not in [output.output_type for output in outputs(written)]


def test_the_name_of_a_run_beside_it_is_no_code(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied(beside, tmp_path / "runs/tiny", "report.ipynb")
    names = ['a"b', "a'b", "a\\b", "a\n```\n# b", 'x"); open("pwned","w"); ("']
    for name in names:
        copied(beside.parent / "other", tmp_path / "runs" / name)
    made = list(notebook.cells(read_run(here), runs.sibling_runs(here)))
    [code] = [cell.source for cell in made if "run_table" in cell.source]
    monkeypatch.chdir(here)
    known: dict[str, Any] = {"RUN": Path(), "run": None, "read_run": read_run, "runs": MagicMock()}
    exec(code, known)
    assert sorted(one.name for one in known["tried"][1:]) == sorted(names)
    assert not Path("pwned").exists()
    assert "\n# b" not in "\n".join(cell.source for cell in made)


def test_a_group_and_an_image_in_two_splits_are_counted_from_the_lists(
    dataset: Dataset, tmp_path: Path
) -> None:
    about = json.loads((dataset.path / "dataset.json").read_text())
    first, second = dataset.splits["train"][:2]
    third = dataset.splits["test"][0]
    about["groups"] = {"a": {"train": [first, second]}, "b": {"train": [second, third]}}
    about["groups_in_two_splits"] = []  # what the file claims
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    found = data.separation(dataclasses.replace(dataset, path=tmp_path))
    assert (found.images, found.images_twice, found.groups) == (20, (), 2)
    assert found.groups_twice == ("b",)
    splits = dataset.splits | {"val": (*dataset.splits["val"], first)}
    twice = data.separation(dataclasses.replace(dataset, splits=splits))
    assert twice.images_twice == (first,)


def test_varied_images_show_every_class_first(dataset: Dataset) -> None:
    [first, second] = data.varied_images(dataset, "train", 2)
    assert set(np.unique(data.load_mask(dataset, first)).tolist()) >= {1, 2}
    assert first != second
    assert data.varied_images(dataset, "train", 2) == [first, second]


@pytest.mark.parametrize("settings", [{"size": "64x96"}, {"crop": 32, "mosaic": 1.0}])
def test_training_samples_are_drawn(
    settings: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    config, ids = TrainConfig(**settings), dataset.splits["train"][:4]
    picture = data.augmented(tmp_path, config, dataset, ids)
    assert Image.open(io.BytesIO(picture.data)).width == round(show.WIDTH * show.DPI)


def test_a_failure_says_which_class_was_missed_and_which_over_marked() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:10, :10], truth[12:14, 12:14] = 1, 2
    prediction = truth.copy()
    prediction[:5, :10] = 0  # half of the 100
    prediction[14:17, 14:17] = 2
    counts = confusion(truth, prediction, 3)
    assert failures.missed(counts, CLASSES).startswith("Missed: **fishka**, 50 % ")
    assert failures.over_marked(counts, CLASSES).startswith("Over-marked: **defect**, 9 pixels")
    right = confusion(truth, truth, 3)
    assert failures.missed(right, CLASSES) == failures.over_marked(right, CLASSES) == ""


def test_conclusions_follow_the_numbers(beside: Path, dataset: Dataset) -> None:
    run = read_run(beside)

    def with_log(**columns: Any) -> Run:
        values = {name: np.array(column) for name, column in columns.items()}
        return dataclasses.replace(run, log={"epoch": np.arange(4.0), **values})

    assert findings.weakest_class(run, dataset)
    assert "no test split" in findings.val_and_test(
        dataclasses.replace(run, scores={"val": run.scores["val"]})
    )
    rising = [0.2, 0.5, 0.8, 0.7]
    overfitted = findings.course(with_log(val_miou=rising, miou=[0.3, 0.6, 0.95, 0.9]))
    assert "best epoch was 3 of 4" in overfitted
    assert "0.150" in overfitted
    assert "--epochs" not in overfitted
    assert "--epochs" in findings.course(with_log(val_miou=sorted(rising), miou=rising))
    assert "50 %" in findings.pace(with_log(data_wait=[0.9, 0.5, 0.5, 0.5]))
    assert findings.pace(with_log(data_wait=[0.9, 0.1, 0.1, 0.1])) == ""


def test_the_best_run_on_val_is_named(beside: Path) -> None:
    best, other = read_run(beside), read_run(beside.parent / "other")
    assert findings.selection([other, best], best).startswith("**tiny** is best")
    assert "**tiny** is best" in findings.selection([other, best], other)
    assert [run.name for run in runs.ranked([other, best])] == ["tiny", "other"]


def test_names_in_tables_are_escaped() -> None:
    assert "a&lt;b" in show.table(("class", "IoU"), [("a<b", "0.5")]).data
