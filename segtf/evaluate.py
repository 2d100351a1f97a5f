"""Score a run, a SavedModel, an ONNX file or an ensemble on a split: `python -m segtf.evaluate`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segtf.inference.ensembles import Ensemble, model_paths
from segtf.inference.predictor import Tta
from segtf.reports.results import write_results
from segtf.run.folder import read_data, read_run_dataset
from segtf.run.provenance import describe_images, find_trained_on, note_unknown_provenance
from segtf.scoring.evaluation import Evaluation, evaluate_split
from segtf.scoring.operating import Decision, Target, decide, given, target_class
from segtf.scoring.scores import split_scores
from segtf.scoring.split_scores import Origin, SplitScores
from segtf.scoring.tables import result_tables
from segtf.training.costs import images_at_once
from voc_builder.base.classes import has_background
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.base.tensorflow import import_tensorflow

if TYPE_CHECKING:
    from segtf.inference.backends import Engine
    from voc_builder.tree.voc import Dataset


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run, a SavedModel or an ONNX file on a split: pixels, outlines and objects."""

    model: Path
    """Run folder, SavedModel folder or ONNX file; several with commas are scored as an ensemble."""
    split: Literal["train", "val", "test"] = "test"
    """Images to score on."""
    data: Path | None = None
    """VOC tree with TFRecords; null: the one that the run was trained on."""
    out: Path | None = None
    """Folder for metrics_SPLIT.json and its charts; null: the run's, for its own data."""
    batch: int | None = None
    """Images per batch; null: as many as have a megapixel together at the training size."""
    ensemble: Ensemble = "mean"
    """How several networks are combined: mean of the probabilities, vote, or per-class for networks
    of different classes; their background counts only where the data have one."""
    tta: Tta = "none"
    """Test-time augmentation: mean over mirrored images (flips), or also turned ones (d4)."""
    defect: str | None = None
    """Target class; null: the one called defect, else the last one."""
    defect_threshold: str = "auto"
    """Decision threshold for the probability of that class: auto chooses it on val (largest F1 over
    objects), none leaves it out, a number is rounded to a multiple of 1/256."""
    defect_recall: float | None = None
    """Instead of the largest F1: the highest threshold that finds this fraction of the objects."""


def evaluate(config: EvaluateConfig) -> SplitScores:
    """Score a model on a split and write the scores. Raises `UserError` for images that it was
    trained on, unless the split is train.
    """
    from segtf.inference.backends import asked_together, open_engine

    if config.batch is not None and config.batch < 1:
        raise UserError(f"--batch {config.batch}: must be at least 1")
    _require_folder(config.out)
    engines = [open_engine(path) for path in model_paths(config.model)]
    engine = asked_together(engines, ensemble=config.ensemble, tta=config.tta)
    dataset = _dataset_for(config, engines)
    if config.ensemble == "per-class":
        engine = _for_classes(engine, dataset)
    if dataset.classes != engine.classes:
        raise UserError(
            f"{config.model}: the classes are {', '.join(engine.classes)}; {dataset.path} has "
            f"{', '.join(dataset.classes)}: score it on data of its own classes"
        )
    if not dataset.splits.get(config.split):
        raise UserError(f"--split {config.split}: {dataset.path} has no images in it")
    target = target_class(
        dataset.classes,
        config.defect,
        threshold=config.defect_threshold,
        recall=config.defect_recall,
    )
    runs = [each.run for each in engines if each.run is not None]
    # the file of a network of this data set, not of a fold of it, was trained on its train alone
    own = dataset.sha256 if not dataset.folds else None
    note_unknown_provenance(
        [each.run or each.path for each in engines if each.run or each.data != own]
    )
    _refuse_trained_on(runs, dataset, config.split)
    import_tensorflow()  # slow, hence after all checks
    evaluation, decision = _evaluate(config, engine, dataset, target, runs)
    plain = len(engines) == 1 and config.tta == "none"
    models = tuple(str(each.path) for each in engines)
    asked = {} if plain else {"models": models, "ensemble": config.ensemble, "tta": config.tta}
    origin = Origin.of(config.split, engine.kind, engine.shape, dataset, **asked)
    scores = split_scores(evaluation, dataset.classes, origin, target, decision)
    _write(config, engine, dataset, scores)
    return scores


def _require_folder(out: Path | None) -> None:
    """Raises `UserError` if a file is in the place of the folder."""
    for place in () if out is None else (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise UserError(f"--out {out}: {place} is not a folder: name another")


def _write(config: EvaluateConfig, engine: Engine, dataset: Dataset, scores: SplitScores) -> None:
    """Writes the scores into the folder of `config` or of the run, if the data set is its own."""
    own = engine.run is not None and dataset.sha256 == read_data(engine.run)["sha256"]
    out = config.out or (engine.run if own else None)
    if out is None:
        note("the scores are not written: name a folder for them with --out")
        return
    write_results(scores, out)


def _for_classes(engine: Engine, dataset: Dataset) -> Engine:
    """Networks of different classes, with the classes of a data set in its order; the background of
    the networks counts only where the data set has one.
    """
    from segtf.inference.backends import with_classes

    without = not has_background(dataset.classes)
    known = engine.classes[1:] if without else engine.classes
    if not set(known) <= set(dataset.classes):
        return engine
    if unknown := [name for name in dataset.classes if name not in known]:
        note(f"no network knows {', '.join(unknown)}: all of it counts as missed")
    return with_classes(engine, dataset.classes)


def _evaluate(
    config: EvaluateConfig,
    engine: Engine,
    dataset: Dataset,
    target: Target | None,
    runs: Sequence[Path],
) -> tuple[Evaluation, Decision | None]:
    """The counts of the split, and the threshold: given, or chosen on val, unless one of the `runs`
    was trained on images of val.
    """

    def counts(split: str) -> Evaluation:
        return _evaluate_split(config, engine, dataset, split, target)

    if target is None:
        return counts(config.split), None
    if target.threshold is not None:
        return counts(config.split), given(target)
    if config.split == "val":
        evaluation = counts("val")
        return evaluation, decide(target, evaluation, "val")
    if not dataset.splits.get("val"):
        decision = Decision(None, f"{dataset.path} has no val images to choose it on")
    elif overlap := find_trained_on(runs, dataset, "val"):
        decision = Decision(None, _trained_on(overlap, dataset, "val"))
    else:
        decision = decide(target, counts("val"), "val")
    return counts(config.split), decision


def _evaluate_split(
    config: EvaluateConfig, engine: Engine, dataset: Dataset, name: str, target: Target | None
) -> Evaluation:
    """The counts of a split. Raises `UserError` if a batch needs too much memory."""
    import tensorflow as tf

    from segtf.data.records import Loading, load_splits

    # cached in the run folder, as the data set may be read-only
    with tempfile.TemporaryDirectory(dir=engine.run, prefix=".cache-") as disk:
        how = Loading(engine.shape, engine.crop, disk=Path(disk), whole=None)
        (split,) = load_splits(dataset, (name,), how)
        class_id = None if target is None else target.class_id
        batch = config.batch or images_at_once(engine.shape)
        try:
            return evaluate_split(engine.predict, split, dataset.classes, batch, class_id)
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(f"--batch {batch}: out of memory: try {max(batch // 2, 1)}") from error


def _dataset_for(config: EvaluateConfig, engines: Sequence[Engine]) -> Dataset:
    """The data set that is named, else the one that all networks were trained on."""
    from voc_builder.tree.voc import read_dataset

    runs = [engine.run for engine in engines if engine.run is not None]
    if config.data is not None:
        dataset = read_dataset(config.data)
        own = [about for run in runs if (about := read_data(run))["sha256"] == dataset.sha256]
        if own and "fold" in own[0]:
            # the network of a fold was trained on images of the val split
            dataset = dataset.in_fold(own[0]["fold"])
    elif len(runs) < len(engines):
        outside = next(engine for engine in engines if engine.run is None)
        raise UserError(f"{outside.path}: lies in no run folder: name its data set with --data")
    else:
        hashes = {read_data(run)["sha256"]: run for run in reversed(runs)}
        if len(hashes) > 1:
            raise UserError(
                f"{' and '.join(map(str, hashes.values()))} were trained on different data sets: "
                "name the one to score on with --data"
            )
        dataset = read_run_dataset(runs[0])
    return dataset


def _refuse_trained_on(runs: Sequence[Path], dataset: Dataset, split: str) -> None:
    """Raises `UserError` if networks were trained on images of a split other than train."""
    if split != "train" and (overlap := find_trained_on(runs, dataset, split)):
        raise UserError(
            f"--split {split}: {_trained_on(overlap, dataset, split)}: score images that none was "
            "trained on, for example in a data set with the same split"
        )


def _trained_on(overlap: Mapping[Path, Sequence[str]], dataset: Dataset, split: str) -> str:
    return "; ".join(
        f"{run} was trained on {describe_images(ids, dataset, split)}"
        for run, ids in overlap.items()
    )


def _command(config: EvaluateConfig) -> None:
    scores = evaluate(config)
    print(f"{config.split}: {scores.images} images\n{result_tables(scores)}")


def main() -> int:
    """The command line."""
    return run(_command, EvaluateConfig, "python -m segtf.evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
