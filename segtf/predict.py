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
from segtf.scoring.operating import NONE, target_class
from segtf.scoring.tables import score_table
from segtf.training.stopping import Stop
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import SUFFIXES

NAMED = 3  # images that a message names


@dataclass(frozen=True)
class PredictConfig:
    """Predict images with an ONNX file and write masks, pictures, outlines and tables at full size.
    Exit code 1: something could not be read or written and was left out.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder with model.onnx; several, separated by commas,
    are an ensemble."""
    images: tuple[Path, ...]
    """Images, folders (searched with their subfolders) or quoted glob patterns."""
    out: Path = Path("predictions")
    """Folder for the results; files of the same names are replaced."""
    save: str = "mask,overlay"
    """Outputs to write, separated by commas: mask, overlay, cutout, probabilities, labelme, rle,
    coco."""
    mode: Mode = "auto"
    """Resize images to the training size, or cut tiles of that size; auto: as in training."""
    overlap: float = 0.25
    """Least overlap of neighbouring tiles, as a fraction of their side."""
    tta: Tta = "none"
    """Test-time augmentation: mean over the mirrored image (flips), or also over its quarter turns
    (d4)."""
    ensemble: Ensemble = "mean"
    """How several networks are combined: mean of the probabilities, vote, or per-class for networks
    of different classes beside the background."""
    defect_threshold: float | None = None
    """Decision threshold for the target class, such as segtf.evaluate chooses on val: a pixel with
    at least that probability is of the class; null: where it is the most probable class."""
    defect: str | None = None
    """Target class; null: the one called defect, else the last one."""
    tolerance: float = TOLERANCE
    """Largest deviation of the polygons for labelme, pixels."""
    shapes: Shapes = "polygon"
    """Shapes for labelme: polygons, or masks that match every pixel."""
    rle_class: str | None = None
    """Class to encode as run lengths; null: all but the background."""
    queue: bool = False
    """Also write queue.csv: the images to annotate and the annotations to check next."""
    gallery: bool = False
    """Also write index.html, a page of all images that opens from disk, and its folder images."""
    truth: Path | None = None
    """Folder of masks, PNG of the network's class ids: those of a data set are matched by the image
    itself, others by name and subfolder. Images that the network was not trained on are scored
    against them at full size (scores.json); queue and gallery compare with them; null: these two
    compare with labelme files beside the images, if there are any."""
    postprocess: bool = True
    """Remove small components and fill holes by the limits that were chosen on val, if the network
    has any."""
    provider: Provider = "auto"
    """Execution provider; auto: the first of TensorRT, CUDA, OpenVINO and CPU that is installed
    and starts."""
    threads: int = 0
    """CPU threads for the network; 0: onnxruntime's default."""


def _places(wanted: Wanted) -> list[str]:
    """The folders and files in the folder of results."""
    names = [f"{Path(EACH[name]).parent}/" for name in wanted.save if name in EACH]
    names += [TOGETHER[name] for name in wanted.save if name in TOGETHER]
    return names + [PAGE] * wanted.gallery + [QUEUE] * wanted.queue


def _threshold(config: PredictConfig, classes: Sequence[str]) -> tuple[int, float] | None:
    """Class id and decision threshold that the command line asks for."""
    value = config.defect_threshold
    if value is not None and not 0 < value < 1:
        raise UserError(f"--defect-threshold takes a number between 0 and 1. Received: {value:g}")
    target = target_class(classes, config.defect, threshold=NONE if value is None else str(value))
    return None if target is None or value is None else (target.class_id, value)


def _check_order(config: PredictConfig) -> None:
    """Raises `UserError` if the images stand before the network."""
    networks = [path for path in config.images if any(map(is_model, model_paths(path)))]
    if networks and not is_model(config.model) and _holds_images(config.model):
        images = [config.model, *(path for path in config.images if path not in networks)]
        order = (",".join(map(str, networks)), *map(str, images[:NAMED]))
        more = " ..." if len(images) > NAMED else ""
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
    images = find_images(config.images, leave_out=written)
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
        from segtf.outputs.truth import check_truth

        check_truth(config.truth, predictor.classes)
    wanted = replace(wanted, threshold=_threshold(config, predictor.classes))
    result = predict_images(predictor, images, config.out, wanted, truth=config.truth)
    by = " and ".join(dict.fromkeys(provider_name(model.provider) for model in predictor.models))
    places = ", ".join(_places(wanted))
    print(f"{config.out}: {places}: {result.summary(predictor.classes)}; computed by {by}")
    if result.scores:
        print(f"{config.out / SCORES}: {result.scores.images} annotated images")
        print(score_table(result.scores))
    if result.queue:
        print(f"{config.out / QUEUE}: {describe_queue(list(result.queue))}")
    if result.unusable > 1:
        print(f"{result.unusable} annotations could not be compared with", file=sys.stderr)
    if result.left_out:
        names = ", ".join(map(str, result.left_out))
        print(f"left out {len(result.left_out)} of {len(images)}: {names}", file=sys.stderr)
    return 1 if result.left_out or result.unusable else 0


def _command(config: PredictConfig) -> int:
    with Stop().listening():  # remove half-written files, also on SIGTERM
        return predict(config)


def main() -> int:
    return run(_command, PredictConfig, "python -m segtf.predict")


if __name__ == "__main__":
    sys.exit(main())
