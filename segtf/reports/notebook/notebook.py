"""Write a research report about a run as a Jupyter notebook: prose with its numbers, and cells that
read the run's folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Literal

from segtf.reports.markdown import plain
from segtf.reports.notebook import outcome as outcome
from segtf.reports.notebook import text as text
from segtf.reports.notebook.data import telling_images
from segtf.reports.notebook.failures import scored_split
from segtf.reports.notebook.findings import findings
from segtf.reports.notebook.material import Material, read_material
from segtf.reports.notebook.runs import checked_runs, sibling_runs
from segtf.reports.runs import read_run
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = "report.ipynb"  # in a run folder
EXTRA = "pip install 'segtf[notebook]'"
IMAGES = 4  # that stand for the data set


@dataclass(frozen=True)
class Cell:
    """A paragraph or some lines of code."""

    kind: Literal["markdown", "code"]
    source: str


def write_notebook(folder: Path, *, others: Sequence[Path] | None, execute: bool) -> Path:
    """Writes `report.ipynb` into the folder of a finished run, executed or not; returns its path.
    `others` are the runs that it is compared with, None: those beside it on the same data set.
    Raises `UserError` for what is no finished run, for a cell that fails, and where the packages
    for notebooks are missing; nothing is written then.
    """
    try:
        import nbformat
    except ImportError:
        raise UserError(f"--notebook needs packages that are not installed: {EXTRA}") from None
    material = read_material(folder)
    paths = sibling_runs(folder) if others is None else checked_runs(folder, others)
    notebook = make_notebook(list(cells(material, paths)))
    if execute:
        from segtf.reports.notebook.kernel import execute_notebook

        execute_notebook(notebook, folder)
    out = folder / NOTEBOOK
    with replacing(out) as beside:
        nbformat.write(notebook, beside)
    return out


def make_notebook(content: Sequence[Cell]) -> NotebookNode:
    """A notebook that has not been executed; equal cells give equal files."""
    from nbformat import v4

    made = []
    for number, cell in enumerate(content):
        new = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
        made.append(new(cell.source, id=f"cell-{number}"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel})


def cells(of: Material, paths: Sequence[Path]) -> Iterator[Cell]:
    """The whole report about a run, beside the runs at `paths`."""
    yield _prose(f"# {plain(of.run.name)}", outcome.summary(of))
    yield _code(
        """
        from pathlib import Path

        from segtf.reports.figures import draw_curves
        from segtf.scoring.tables import object_table, operating_table
        from segtf.run.folder import read_config, read_run_dataset
        from segtf.reports.runs import read_run
        from segtf.reports.notebook import data, failures, network, runs, scores, show, training

        RUN = Path(".")  # this notebook lies in the run's folder
        run, config, dataset = read_run(RUN), read_config(RUN), read_run_dataset(RUN)
        """
    )
    yield from _data(of)
    yield from _training(of)
    yield from _hypotheses(of, paths)
    yield _prose("## 4. Training", text.course(of))
    yield _code('show.drawn(lambda out: draw_curves(RUN / "log.csv", out), width=900)')
    yield _prose("## 5. The network", text.network(of))
    yield _code("network.network_table(RUN, config, len(run.classes))")
    yield from _results(of)
    yield _prose("## 7. Post-processing", outcome.postprocessing(of))
    if of.export and of.export.trials:
        yield _code("scores.trial_table(network.read_export(RUN))")
    yield _prose("## 8. Failures", outcome.failures(of))
    yield _code(
        """
        worst = failures.worst_images(run, dataset)
        failures.failure_picture(worst, run.classes)
        """
    )
    yield _code("failures.failure_sentences(worst, run.classes)")
    found = "\n".join(f"- {one}" for one in findings(of.run, of.dataset))
    yield _prose("## 9. Conclusions", found, outcome.commands(of))


def _data(of: Material) -> Iterator[Cell]:
    yield _prose("## 1. Task and data", text.task(of), text.splits(of))
    yield _code("data.split_table(dataset)")
    yield _prose(text.proof(of))
    yield _code("data.separation_table(dataset)")
    yield _prose(text.sizes(of))
    yield _code("survey = data.survey_of(RUN, dataset)\ndata.size_table(survey)")
    if of.survey["objects"]:
        yield _code("data.object_table(survey)")
    yield _prose(
        f"{IMAGES} images of train that show as much of the classes as so few can, and their "
        "annotations."
    )
    yield _code(
        f"""
        ids = data.telling_images(dataset, "train", {IMAGES})
        data.images_with_masks(dataset, ids)
        """
    )


def _training(of: Material) -> Iterator[Cell]:
    yield _prose("## 2. Pre-processing and augmentation", text.seen(of), text.augmentation(of))
    yield _code("training.pipeline_table(RUN, config)")
    first = telling_images(of.dataset, "train", 1)[0]
    yield _prose(f"The image {plain(first)} several times, as training gets it.")
    yield _code("training.augmented_image(RUN, config, dataset, ids[0])")


def _hypotheses(of: Material, paths: Sequence[Path]) -> Iterator[Cell]:
    runs = [read_run(path) for path in paths]
    yield _prose("## 3. Hypotheses", text.hypotheses(of, runs))
    names = [f"RUN / {_from(of.folder, path)!r}" for path in paths if not _same(path, of.folder)]
    listed = "".join(f"    read_run({name}),\n" for name in names)
    yield _code(f"tried = [\n    run,\n{listed}]\nruns.run_table(tried, run)")


def _results(of: Material) -> Iterator[Cell]:
    split = scored_split(of.run)
    yield _prose("## 6. Results", outcome.results(of))
    yield _code("scores.class_table(run)")
    yield _code("scores.total_table(run)")
    for name in of.run.scores:
        yield _prose(f"Confusion matrix of {name}: rows are the truth, in percent of the row.")
        yield _code(f'scores.confusion_picture(run, "{name}")')
    objects = of.run.scores[split].objects
    if objects and objects.classes:
        yield _prose(
            f"Objects of {split}, found and missed: one is found if at least a quarter of its "
            "pixels are predicted as its class; an alarm is false unless a tenth of its pixels lie "
            "on true objects."
        )
        yield _code(f'print(object_table(run.scores["{split}"]))')
    point = outcome.operating_point(of, split)
    if point:
        yield _prose(point)
        yield _code(f'print(operating_table(run.scores["{split}"]))')
        yield _code(f'scores.threshold_picture(run, "{split}")')


def _from(folder: Path, path: Path) -> str:
    """The way from one run folder to another: both may be moved together."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _prose(*paragraphs: str) -> Cell:
    return Cell("markdown", "\n\n".join(part for part in paragraphs if part))


def _code(source: str) -> Cell:
    return Cell("code", dedent(source).strip())
