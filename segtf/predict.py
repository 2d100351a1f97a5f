"""Predict images with an ONNX file: masks, pictures, outlines and tables, without TensorFlow."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segtf.inference.ensembles import Ensemble, model_paths
from segtf.inference.find_images import find_images
from segtf.inference.onnx_model import is_model
from segtf.inference.predictor import Mode, Tta, open_predictor
from segtf.inference.providers import Provider, provider_name
from segtf.outputs.annotation_queue import describe_queue
from segtf.outputs.files import EACH, TOGETHER, Shapes, Wanted, outputs_of
from segtf.outputs.folder import QUEUE, SCORES, predict_images
from segtf.outputs.gallery import FOLDERS, PAGE
from segtf.outputs.polygons import TOLERANCE
from segtf.outputs.truth import check_truth
from segtf.scoring.evaluation import score_table
from segtf.scoring.operating import NONE, target_class
from segtf.training.stopping import Stop
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import SUFFIXES

NAMED = 3  # images that a message names


@dataclass(frozen=True)
class PredictConfig:
    """Predicts images with an ONNX file and writes masks, pictures, outlines and tables at their
    full size. Exit code 1: something could not be read or written and was left out.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder that holds model.onnx; several with commas
    answer together."""
    images: tuple[Path, ...]
    """Images, folders (searched with their subfolders) or quoted glob patterns."""
    out: Path = Path("predictions")
    """Folder for the results; files of the same names are replaced."""
    save: str = "mask,overlay"
    """What to write, separated by commas: mask, overlay, cutout, probabilities, labelme, rle,
    coco."""
    mode: Mode = "auto"
    """Squeeze images to the training size, or cut tiles of that size out of them as they are; auto:
    what training did."""
    overlap: float = 0.25
    """What neighbouring tiles share at least, as a part of their side."""
    tta: Tta = "none"
    """Also ask about the image mirrored (flips), or mirrored and turned (d4), and take the mean."""
    ensemble: Ensemble = "mean"
    """How several answer together: mean of the probabilities, vote, or per-class for networks that
    each know other classes beside the background."""
    defect_threshold: float | None = None
    """Probability from which on a pixel is of the class that is target, such as segtf.evaluate
    chooses on val; null: where that class is the most probable."""
    defect: str | None = None
    """Class that is target; null: the one called defect, else the last one."""
    tolerance: float = TOLERANCE
    """How far the polygons for labelme may lie off, pixels."""
    shapes: Shapes = "polygon"
    """What labelme gets: polygons, or masks that are the very pixels."""
    rle_class: str | None = None
    """Class that the run lengths are of; null: all but the background."""
    queue: bool = False
    """Also write queue.csv: which images to annotate and which annotations to check next."""
    gallery: bool = False
    """Also write index.html, a page of all images that opens from disk, and its folder images."""
    truth: Path | None = None
    """Folder of masks, PNG of the network's class ids, in a data set those of its very images, else
    named as the images and in the same subfolders: images that it was not trained on are scored by
    them at their full size (scores.json), queue and gallery compare with them; null: these two
    compare with labelme files beside the images, where there are any."""
    postprocess: bool = True
    """Sweep small components and holes out of masks by the limits that were chosen on val, where
    the network has some."""
    provider: Provider = "auto"
    """What computes the network; auto: the first of TensorRT, CUDA, OpenVINO and CPU that is there
    and starts."""
    threads: int = 0
    """CPU threads for the network, 0 for as many as onnxruntime likes."""


def _places(wanted: Wanted) -> list[str]:
    """What lies under the folder of results, folders and files."""
    names = [f"{Path(EACH[name]).parent}/" for name in wanted.save if name in EACH]
    names += [TOGETHER[name] for name in wanted.save if name in TOGETHER]
    return names + [PAGE] * wanted.gallery + [QUEUE] * wanted.queue


def _threshold(config: PredictConfig, classes: Sequence[str]) -> tuple[int, float] | None:
    """Class id and probability that the command line names."""
    value = config.defect_threshold
    if value is not None and not 0 < value < 1:
        raise UserError(f"--defect-threshold takes a number between 0 and 1. Received: {value:g}")
    target = target_class(classes, config.defect, threshold=NONE if value is None else str(value))
    return None if target is None or value is None else (target.class_id, value)


def _check_order(config: PredictConfig) -> None:
    """Raises `UserError` if the images are named before the network."""
    networks = [path for path in config.images if any(map(is_model, model_paths(path)))]
    if networks and not is_model(config.model) and _holds_images(config.model):
        photos = [config.model, *(path for path in config.images if path not in networks)]
        order = (",".join(map(str, networks)), *map(str, photos[:NAMED]))
        more = " ..." if len(photos) > NAMED else ""
        raise UserError(
            f"{config.model}: no network, and {networks[0]} is one: the network comes first: "
            f"python -m segtf.predict {shlex.join(order)}{more}"
        )


def _holds_images(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    try:
        return bool(find_images([path]))
    except UserError:
        return False


def predict(config: PredictConfig) -> int:
    """Predicts the images that `config` names; 1 if something was left out."""
    if config.threads < 0:
        raise UserError(f"--threads takes 0 or more. Received: {config.threads}")
    _check_order(config)
    wanted = Wanted(
        outputs_of(config.save),
        config.tolerance,
        config.shapes,
        config.rle_class,
        config.queue,
        config.gallery,
    )
    written = [(config.out / pattern).parent for pattern in EACH.values()]
    written += [config.out / folder for folder in FOLDERS]
    photos = find_images(config.images, leave_out=written)
    predictor = open_predictor(
        model_paths(config.model),
        mode=config.mode,
        overlap=config.overlap,
        tta=config.tta,
        ensemble=config.ensemble,
        threads=config.threads,
        provider=config.provider,
        postprocess=config.postprocess,
    )
    if config.truth is not None:
        check_truth(config.truth, predictor.classes)
    wanted = replace(wanted, threshold=_threshold(config, predictor.classes))
    result = predict_images(predictor, photos, config.out, wanted, truth=config.truth)
    by = " and ".join(dict.fromkeys(provider_name(model.provider) for model in predictor.models))
    places = ", ".join(_places(wanted))
    print(f"{config.out}: {places}: {result.summary(predictor.classes)}; computed by {by}")
    if result.scores:
        print(f"{config.out / SCORES}: {result.scores['images']} annotated images")
        print(score_table(result.scores))
    if result.queue:
        print(f"{config.out / QUEUE}: {describe_queue(list(result.queue))}")
    if result.untrue > 1:
        print(f"{result.untrue} annotations could not be compared with", file=sys.stderr)
    if result.left_out:
        names = ", ".join(map(str, result.left_out))
        print(f"left out {len(result.left_out)} of {len(photos)}: {names}", file=sys.stderr)
    return 1 if result.left_out or result.untrue else 0


def _command(config: PredictConfig) -> int:
    with Stop().listening():  # what is half written goes, also when the system ends the process
        return predict(config)


def main() -> int:
    return run(_command, PredictConfig, "python -m segtf.predict")


if __name__ == "__main__":
    sys.exit(main())
