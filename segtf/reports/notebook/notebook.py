"""Write a research report about a run as a Jupyter notebook whose cells read the run folder."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Literal

from segtf.exporting.report import read_export
from segtf.inference.onnx_model import MODEL_FILE
from segtf.reports.markdown import fence, plain
from segtf.reports.notebook.failures import scored_split
from segtf.reports.notebook.findings import conclusions, selection
from segtf.reports.notebook.runs import checked_runs, sibling_runs
from segtf.reports.runs import Run, read_run
from segtf.run.folder import read_config, read_run_dataset
from segtf.run.size import describe
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = "report.ipynb"  # in a run folder
EXTRA = "pip install 'segtf[notebook]'"
IMAGES = 4  # that represent the data set
SECONDS = 600  # limit for one cell


@dataclass(frozen=True)
class Cell:
    """A paragraph or some lines of code."""

    kind: Literal["markdown", "code"]
    source: str


def write_notebook(folder: Path, *, others: Sequence[Path] | None, execute: bool) -> Path:
    """Writes `report.ipynb` into the folder of a finished run, executed or not; returns its path.

    `others` are the runs to compare with; None: those beside it on the same data set. Raises
    `UserError` for a folder that is no finished run, for a cell that fails, and where the packages
    for notebooks are missing; nothing is written then.
    """
    try:
        import ipykernel  # noqa: F401  the kernel's process imports it
        import nbclient  # noqa: F401
        import nbformat
    except ImportError as error:
        raise UserError(f"--notebook needs the package {error.name}: {EXTRA}") from None
    run = read_run(folder)
    paths = sibling_runs(folder) if others is None else checked_runs(folder, others)
    notebook = make_notebook(list(cells(run, paths)))
    if execute:
        execute_notebook(notebook, folder)
    out = folder / NOTEBOOK
    with replacing(out) as beside:
        nbformat.write(notebook, beside)
    return out


def make_notebook(content: Sequence[Cell]) -> NotebookNode:
    """A notebook that has not been executed; equal cells give equal files."""
    from nbformat import v4

    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    made = [make[cell.kind](cell.source, id=f"cell-{n}") for n, cell in enumerate(content)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel})


def execute_notebook(notebook: NotebookNode, folder: Path) -> None:
    """Executes all cells in `folder` by this Python and stores their outputs in `notebook`. Raises
    `UserError` with the error of the first cell that fails, in one line.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    begun: list[int] = []
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        coalesce_streams=True,
        on_cell_execute=lambda cell, cell_index: begun.append(cell_index),
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env={**os.environ, "PYTHONPATH": _python_path()})
    except CellExecutionError as error:
        name = "" if error.ename == UserError.__name__ else f"{error.ename}: "
        text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", f"{name}{error.evalue}").split())
        raise UserError(f"{_place(notebook, begun)} failed: {text}") from None
    except CellTimeoutError:
        raise UserError(f"{_place(notebook, begun)} took more than {SECONDS} s") from None
    except (DeadKernelError, RuntimeError) as error:
        raise UserError(f"{_place(notebook, begun)}: the kernel ended: {error}") from None


def _python_path() -> str:
    """The code that runs here first, so that the kernel imports the same."""
    own = str(Path(__file__).parents[3])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _place(notebook: NotebookNode, begun: Sequence[int]) -> str:
    """The last cell that was started, by its number and the heading above it."""
    if not begun:
        return "the notebook"
    above = [cell.source for cell in notebook.cells[: begun[-1]] if cell.cell_type == "markdown"]
    headings = [found[1] for text in above if (found := re.match(r"#+ (.*)", text))]
    return f"cell {begun[-1] + 1} of the notebook" + (f" ({headings[-1]})" if headings else "")


def cells(run: Run, paths: Sequence[Path]) -> Iterator[Cell]:
    """The whole report about a run, compared with the runs at `paths`."""
    config, dataset = read_config(run.path), read_run_dataset(run.path)
    export = read_export(run.path)
    split = scored_split(run)
    values = run.scores[split]
    names = [plain(name) for name in run.classes[1 if has_background(run.classes) else 0 :]]
    miou = "no score" if values.miou is None else f"a mean IoU of **{values.miou:.4f}**"
    network = config.arch if config.arch == "unet_plain" else f"{config.arch} with {config.encoder}"
    yield _prose(
        f"# {plain(run.name)}",
        f"A network ({network}, {'crops' if config.crop else 'images'} of "
        f"{describe(config.shape)} pixels) for the classes {', '.join(names)}. It reaches {miou} "
        f"on {values.images:,} images of {split}. The cells below read the run folder that this "
        "notebook lies in. They need `segtf`, but no training framework.",
    )
    yield _code(
        """
        from pathlib import Path

        from segtf.reports.notebook import data, failures, runs, show
        from segtf.reports.runs import read_run
        from segtf.run.folder import read_config, read_run_dataset

        RUN = Path(".")  # this notebook lies in the run folder
        run, config, dataset = read_run(RUN), read_config(RUN), read_run_dataset(RUN)
        """
    )
    yield _prose(
        "## 1. Task and data",
        "The network names the class of every pixel. It was trained on train; val decided which "
        "epoch was kept, which post-processing rules and which decision threshold are used; test "
        "took part in no decision. Ignored pixels are neither learned nor scored.",
    )
    yield _code('show.section(RUN, "data")')
    yield _prose("No image and no group of related images may be in two splits:")
    yield _code("data.separation_table(dataset)")
    yield _prose(f"{IMAGES} training images that show as many classes as possible, annotated:")
    yield _code(f'ids = data.varied_images(dataset, "train", {IMAGES})')
    yield _code("data.annotated(dataset, ids)")
    yield _prose(
        "## 2. Pre-processing and augmentation",
        "The encoder's preprocessing is inside the network. Training images are changed at random "
        "by this albumentations pipeline; images of val and test never are.",
    )
    yield _code('print((RUN / "augment.yaml").read_text(encoding="utf-8"))')
    yield _prose("Training samples as the network gets them:")
    yield _code("data.augmented(RUN, config, dataset, ids)")
    yield _prose("## 3. Runs on this data set", selection([read_run(path) for path in paths], run))
    beside = [f"RUN / {_from(run.path, p)!r}" for p in paths if p.resolve() != run.path.resolve()]
    listed = "".join(f"    read_run({name}),\n" for name in beside)
    yield _code(f"tried = [\n    run,\n{listed}]\nruns.run_table(tried, run)")
    yield _prose("## 4. Training")
    yield _code('show.section(RUN, "training")')
    yield _prose("## 5. Size and batch")
    yield _code('show.section(RUN, "size")')
    yield _prose(
        "## 6. Results",
        "Scores are of all pixels of a split. The 95 % intervals are bootstrap intervals over "
        "images; a question mark: fewer than 6 images hold the class.",
    )
    yield _code('show.section(RUN, "result", "scores", "objects-test", "objects-val", "confusion")')
    yield _prose("## 7. Export and post-processing")
    yield _code('show.section(RUN, "export")')
    if export is not None and export.trials:
        yield _prose("Every limit that was tried on val:")
        yield _code("runs.trial_table(RUN)")
    yield _prose(
        "## 8. Failures",
        f"The images of {split} with the most missed objects and false alarms, then the most wrong "
        "pixels, as the exported network segments them at their own size.",
    )
    yield _code(
        "worst = failures.worst_images(run, dataset)\nfailures.sheet_of(worst, run.classes)"
    )
    yield _code("failures.sentences(worst, run.classes)")
    found = "\n".join(f"- {one}" for one in conclusions(run, dataset))
    yield _prose("## 9. Conclusions", found, _commands(run))


def _commands(run: Run) -> str:
    """The commands that repeat everything."""
    folder = shlex.quote(str(run.path))
    lines = [
        str(run.environment.get("command") or f"# not recorded: see {folder}/config.yaml"),
        *(f"python -m segtf.evaluate {folder} --split {split}" for split in run.scores),
        f"python -m segtf.export {folder}",
        f"python -m segtf.predict {folder}/{MODEL_FILE} IMAGES --out predictions",
        f"python -m segtf.report {folder} --notebook",
    ]
    text = "\n".join(lines)
    return f"To repeat it:\n\n{fence(text)}\n{text}\n{fence(text)}"


def _from(folder: Path, path: Path) -> str:
    """The path from one run folder to another: both may be moved together."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _prose(*paragraphs: str) -> Cell:
    return Cell("markdown", "\n\n".join(part for part in paragraphs if part))


def _code(source: str) -> Cell:
    return Cell("code", dedent(source).strip())
