"""Show what networks learned from boxes and masks: python -m scripts.show_pipes PIPES RUN..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.command import run
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mask = NDArray[np.uint8]  # (H, W), 1 where there is a thing, else 0
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are not in it

FOLDER = {"val": "valid", "test": "test"}
BOX = "#ffd400"
BACKGROUND, HIT, FALSE, MISSED = (28, 28, 32), (245, 245, 245), (240, 120, 30), (60, 130, 250)


@dataclass(frozen=True)
class ShowConfig:
    """Scores networks on the exact masks of a split of `scripts.make_pipes`, each photo at its full
    size, beside the boxes of the same photos, filled; and draws some of them.
    """

    data: Path
    """What scripts.make_pipes wrote."""
    models: tuple[Path, ...]
    """Run folders or ONNX files, a column each."""
    split: str = "test"
    """Photos: val or test."""
    photos: int = 4
    """Photos to draw: the first ones with two things or more on them."""
    out: Path = Path("artifacts/pipes.jpg")
    """JPEG to write."""


@dataclass(frozen=True)
class Seen:
    """A photo with its truth and all answers."""

    photo: NDArray[np.uint8]  # (H, W, 3), RGB
    exact: Mask
    boxes: tuple[Box, ...]
    answers: tuple[Mask, ...]  # first the boxes, filled; then of each model


def show_pipes(config: ShowConfig) -> None:
    """Prints the scores and writes the picture. Raises `UserError` for other data or models."""
    from segtf.scoring.metrics import confusion, dice, iou

    if config.photos < 1:
        raise UserError(f"--photos {config.photos}: must be at least 1")
    names = ["boxes, filled", *(_name(path) for path in config.models)]
    seen = read_split(config.data, config.split, config.models)
    width = max(map(len, names))
    print(f"{config.split}, {len(seen)} photos\n{'object':<{width}}     IoU    Dice")
    for column, name in enumerate(names):
        counts = sum(confusion(each.exact, each.answers[column], 2) for each in seen)
        print(f"{name:<{width}}  {iou(counts)[1]:.4f}  {dice(counts)[1]:.4f}")
    shown = [each for each in seen if len(each.boxes) > 1] or seen
    draw_sheet(shown[: config.photos], names, config.out)
    print(config.out)


def read_split(data: Path, split: str, models: Sequence[Path]) -> list[Seen]:
    """The photos of a split and what the models answer."""
    import cv2

    from segtf.inference.predictor import open_predictor
    from voc_builder.pixels.png import decode_mask

    folder = FOLDER.get(split)
    photos = sorted((data / "masks" / folder).glob("*.jpg")) if folder else []
    if not photos:
        raise UserError(f"{data}: no photos of the split {split} in masks/{folder or '?'}")
    predictors = [open_predictor([model], postprocess=False) for model in models]
    for model, predictor in zip(models, predictors, strict=True):
        if len(predictor.classes) != 2:
            raise UserError(f"{model}: its classes are {', '.join(predictor.classes)}, not two")
    found = []
    for path in photos:
        photo = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        exact = decode_mask((data / f"masks/{folder}_mask/{path.stem}.png").read_bytes())
        boxes = read_boxes(data / f"mask_boxes/{folder}/{path.stem}.txt", *exact.shape)
        answers = [predictor.mask(photo) for predictor in predictors]
        found.append(Seen(photo, exact, boxes, (fill_boxes(boxes, *exact.shape), *answers)))
    return found


def read_boxes(path: Path, height: int, width: int) -> tuple[Box, ...]:
    """The boxes of a YOLO file, in pixels."""
    boxes = []
    for line in path.read_text("utf-8").splitlines():
        x, y, wide, high = (float(value) for value in line.split()[1:])
        edges = (x - wide / 2) * width, (y - high / 2) * height
        left, top = round(edges[0]), round(edges[1])
        boxes.append((left, top, left + round(wide * width), top + round(high * height)))
    return tuple(boxes)


def fill_boxes(boxes: Sequence[Box], height: int, width: int) -> Mask:
    """The mask that learning from boxes takes them for."""
    mask = np.zeros((height, width), np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def draw_sheet(seen: Sequence[Seen], names: Sequence[str], out: Path) -> None:
    """A row a photo: the photo with its boxes, its exact mask, and each answer against that."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from segtf.reports.figures import chart_style
    from voc_builder.base.files import replacing

    columns = 2 + len(names)
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(2.4 * columns, 1.95 * len(seen) + 0.4), layout="constrained")
        panels = figure.subplots(len(seen), columns, squeeze=False)
        for row, each in zip(panels, seen, strict=True):
            _panel(row[0], each.photo)
            for left, top, right, bottom in each.boxes:
                corner = (left - 0.5, top - 0.5)
                box = Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=BOX)
                row[0].add_patch(box)
            _panel(row[1], _compared(each.exact, each.exact))
            for axes, answer in zip(row[2:], each.answers, strict=True):
                _panel(axes, _compared(each.exact, answer))
        for axes, name in zip(panels[0], ["photo, boxes", "exact mask", *names], strict=True):
            axes.set_title(name, fontsize=10, parse_math=False)
        figure.supxlabel(
            "white: named an object and is one; orange: is none; blue: is one and was missed",
            fontsize=9,
        )
        FigureCanvasAgg(figure)
        with replacing(out) as beside:
            figure.savefig(beside, dpi=80, pil_kwargs={"quality": 85})


def _panel(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture)
    axes.set_axis_off()


def _compared(exact: Mask, answer: Mask) -> NDArray[np.uint8]:
    """RGB of what agrees and what does not."""
    return np.array([BACKGROUND, FALSE, MISSED, HIT], np.uint8)[2 * exact + answer]


def _name(path: Path) -> str:
    """What a run, or the run that an ONNX file lies in, is called."""
    return path.parent.name if path.suffix == ".onnx" else path.name


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(show_pipes, ShowConfig, "python -m scripts.show_pipes", argv)


if __name__ == "__main__":
    raise SystemExit(main())
