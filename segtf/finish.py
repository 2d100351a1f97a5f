"""Score and export the best network of a run, draw charts and predict: the last stage of training,
and `python -m segtf.finish RUN`.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segtf.exporting.run import require_parity
from segtf.run.folder import (
    BEST,
    LOG,
    OVERLAYS,
    PREDICTIONS,
    SHOWN,
    read_config,
    read_run_dataset,
    write_json,
)
from segtf.run.typed_json import to_json
from segtf.training.stopping import Stop
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, add_cure
from voc_builder.base.progress import note
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.tree.voc import MASKS

if TYPE_CHECKING:
    from segtf.data.records import Split
    from segtf.exporting.report import ExportReport
    from segtf.exporting.run import OnVal
    from segtf.run.config import TrainConfig
    from voc_builder.tree.voc import Dataset

PROG = "python -m segtf.finish"


@dataclass(frozen=True)
class FinishConfig:
    """Score the best network of a run on val and test, export it, and write charts and report."""

    run: Path
    """Run folder with at least one trained epoch."""


def finish(folder: Path) -> bool:
    """Writes scores, export, charts, overlays, report and predictions of a run's best network.

    Returns whether a prediction was left out, with a note on stderr. Raises `UserError` if the run
    has no network yet, KeyboardInterrupt on Ctrl-C, `Terminated` on SIGTERM.
    """
    if not (folder / BEST).is_file():
        raise UserError(f"{folder}: no {BEST}: no epoch of this run has ended yet")
    command = f"{PROG} {shlex.quote(str(folder))}"
    with _add_command(command):
        report = _write_all(folder)
    if report is None:
        return False
    require_parity(report, folder)
    with _add_command(command):
        left_out = _predict_places(folder)
    if left_out:
        note(f"{', '.join(left_out)}: incomplete (see above). Fix it, then run: {command}")
    return bool(left_out)


@contextlib.contextmanager
def _add_command(command: str) -> Iterator[None]:
    """Adds to errors, and to a note on an interruption, the command that continues."""
    kept = f"the trained network is kept. Fix it, then run: {command}"
    with Stop().listening(), add_cure(kept, (OSError, UserError)):
        try:
            yield
        except (KeyboardInterrupt, BrokenPipeError):
            note(f"stopped; continue with: {command}")
            raise


def check_places(config: TrainConfig) -> None:
    """Raises `UserError` for unknown outputs of `predict_save` and for places of `predict` without
    images.
    """
    from segtf.inference.find_images import find_images
    from segtf.outputs.files import outputs_of

    outputs_of(config.predict_save, "--predict-save")
    if config.predict is not None:
        find_images(list(config.predicted.values()))


def _predict_places(folder: Path) -> list[str]:
    """Predicts the images of the setting `predict`, compared with the annotations of the data set;
    returns the folders that are incomplete.
    """
    from segtf.outputs.gallery import PAGE
    from segtf.predict import PredictConfig, predict

    config, dataset = read_config(folder), read_run_dataset(folder)
    left_out = []
    for name, images in config.predicted.items():
        out = folder / PREDICTIONS / name
        code = predict(
            PredictConfig(
                folder,
                (images,),
                out,
                save=config.predict_save,
                gallery=True,
                truth=dataset.path / MASKS,
            )
        )
        print(out / PAGE)
        if code:
            left_out.append(str(out))
    return left_out


def _write_all(folder: Path) -> ExportReport | None:
    """Writes everything but predictions; returns the report of the export, if one was wanted."""
    config, dataset = read_config(folder), read_run_dataset(folder)
    import_tensorflow()
    import numpy as np

    from segtf.data.records import load_splits, loading
    from segtf.exporting.run import IMAGES, export_run
    from segtf.reports.figures import draw_curves
    from segtf.reports.report import write_report

    draw_curves(folder / LOG, folder / "curves.png")
    names = [name for name in ("val", "test") if dataset.splits[name]]
    with tempfile.TemporaryDirectory(
        dir=folder, prefix=".cache-", ignore_cleanup_errors=True
    ) as disk:
        splits = load_splits(dataset, names, loading(config, Path(disk), all_shards=True))
        val = _score_splits(folder, config, dataset, splits)
        if val is None:
            return None
        report = export_run(folder, np.asarray(splits[-1].images[:IMAGES]), val)
        _draw_overlays(folder, dataset, splits[-1])
    print(f"\n{write_report(folder)}")
    return report


def _score_splits(
    folder: Path, config: TrainConfig, dataset: Dataset, splits: Sequence[Split]
) -> OnVal | None:
    """Writes the scores of the splits, val first; returns those that an export needs, if one is
    wanted. The Keras network is freed at the end.
    """
    from segtf.exporting.postprocess_choice import MaskStore
    from segtf.exporting.report import ValScores
    from segtf.exporting.run import on_val
    from segtf.inference.backends import keras_predict
    from segtf.reports.results import write_results
    from segtf.scoring.evaluation import evaluate_split
    from segtf.scoring.operating import decide, target_class
    from segtf.scoring.scores import split_scores
    from segtf.scoring.split_scores import Origin
    from segtf.scoring.tables import result_tables

    predict = keras_predict(folder / BEST)
    decision, target = None, target_class(dataset.classes)
    class_id = None if target is None else target.class_id
    val: OnVal | None = None
    for split in splits:
        masks = MaskStore()
        wanted = split.name == "val" and config.export
        asked = masks.keeping(predict) if wanted else predict
        # one image per batch: on a CPU more are no faster, and take more memory
        evaluation = evaluate_split(asked, split, dataset.classes, 1, class_id)
        if split.name == "val" and target is not None:
            decision = decide(target, evaluation, "val")
        origin = Origin.of(split.name, "keras", config.shape, dataset)
        scores = split_scores(evaluation, dataset.classes, origin, target, decision)
        if wanted:
            val = on_val(ValScores(scores.miou, dict(scores.iou)), masks, split, config)
        write_results(scores, folder)
        print(f"\n{split.name}: {scores.images} images, best network")
        print(result_tables(scores))
    return val


def _draw_overlays(folder: Path, dataset: Dataset, split: Split) -> None:
    """Draws the masks of the ONNX file on the images of a split, with outlines of the annotation,
    and writes the scores of these masks.
    """
    from segtf.inference.predictor import open_predictor
    from segtf.outputs.folder import draw_image, write_file
    from segtf.scoring.faults import image_scores
    from segtf.scoring.split_scores import ShownScores
    from voc_builder.base.progress import progress
    from voc_builder.pixels.image_rows import open_image
    from voc_builder.pixels.images import encode_jpeg
    from voc_builder.pixels.png import decode_mask

    predictor = open_predictor([folder])
    ids = dict.fromkeys(split.ids)  # tiles of an image have the same id
    rows = []
    for image_id in progress(ids, len(ids), f"{split.name} overlays"):
        truth = decode_mask(dataset.mask(image_id).read_bytes())
        with open_image(dataset.image(image_id)) as image:
            mask, overlay = draw_image(predictor, image, truth=truth)
        write_file(folder / OVERLAYS / f"{image_id}.jpg", encode_jpeg(overlay))
        rows.append(image_scores(image_id, truth, mask, predictor.classes))
    write_json(to_json(ShownScores(split.name, tuple(rows))), folder / SHOWN)


def _command(config: FinishConfig) -> int:
    return 1 if finish(config.run) else 0


def main() -> int:
    """The command line."""
    return run(_command, FinishConfig, PROG)


if __name__ == "__main__":
    raise SystemExit(main())
