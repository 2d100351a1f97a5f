"""Show every output of a prediction on one sheet: python -m scripts.show_outputs MODEL PHOTO"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.command import run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHECKS = 16  # of them fit along an image's side, behind what is transparent
SHORTEST = 60  # letters of a text that are shown


@dataclass(frozen=True)
class ShowConfig:
    """Predicts an image and draws each of its outputs, read back from its file, on one sheet."""

    model: Path
    """ONNX file or run folder."""
    image: Path
    """Image to show."""
    out: Path = Path("artifacts/outputs.jpg")
    """JPEG to write."""


def show_outputs(config: ShowConfig) -> None:
    """Writes the sheet. Raises `UserError` for what cannot be predicted or has no background."""
    from segtf.inference.find_images import find_images
    from segtf.inference.predictor import open_predictor
    from segtf.outputs.files import OUTPUTS, Wanted
    from segtf.outputs.folder import predict_images

    predictor = open_predictor([config.model])
    (image,) = find_images([config.image])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predict_images(predictor, [image], folder, Wanted(OUTPUTS))
        draw_sheet(image, folder, config.out)
    print(config.out)


def draw_sheet(image: Path, folder: Path, out: Path) -> None:
    """Draws the image and its outputs under the `folder` of results onto a JPEG at `out`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    from segtf.outputs.files import EACH
    from segtf.reports.figures import chart_style
    from voc_builder.base.files import replacing

    files = {name: folder / pattern.format(image.stem) for name, pattern in EACH.items()}
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(13, 8.9), layout="constrained")
        panels = figure.subplots(2, 3).ravel()
        with Image.open(image) as picture:
            shown = np.asarray(picture.convert("RGB"))
        _panel(panels[0], shown, "photo", image.name)
        with Image.open(files["mask"]) as picture:
            _panel(
                panels[1], np.asarray(picture.convert("RGB")), "mask", "palette PNG of class ids"
            )
        with Image.open(files["overlay"]) as picture:
            _panel(panels[2], np.asarray(picture), "overlay", "JPEG with areas")
        with Image.open(files["cutout"]) as picture:
            _panel(panels[3], _on_checks(np.asarray(picture)), "cutout", "PNG with transparency")
        _probabilities(panels[4], files["probabilities"])
        _panel(panels[5], shown, "labelme", "polygons that labelme opens")
        _polygons(panels[5], files["labelme"])
        lines = [_shorten(line) for line in (folder / "rle.csv").read_text("utf-8").splitlines()]
        figure.supxlabel(f"rle.csv: {' | '.join(lines)}", fontsize=10, family="monospace")
        with replacing(out) as beside:
            FigureCanvasAgg(figure)
            figure.savefig(beside, dpi=80, pil_kwargs={"quality": 82})


def _panel(axes: Axes, picture: NDArray[np.uint8], name: str, about: str) -> None:
    axes.imshow(picture)
    axes.set_title(f"{name}: {about}", fontsize=11)
    axes.set_axis_off()


def _on_checks(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA over the chequered ground that stands for nothing."""
    height, width = rgba.shape[:2]
    side = max(max(height, width) // CHECKS // 2, 1)
    rows, columns = np.indices((height, width)) // side
    ground = np.where((rows + columns) % 2, 110, 150)[..., None]
    opacity = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * opacity + ground * (1 - opacity)).astype(np.uint8)


def _probabilities(axes: Axes, file: Path) -> None:
    """The rarest class that is there anywhere, as a map of its probability."""
    with np.load(file) as stored:
        probabilities, classes = stored["probabilities"], stored["classes"].tolist()
    present = np.flatnonzero((probabilities > 0.5).any((0, 1)))
    rarest = min(present.tolist() or [0], key=lambda i: float(probabilities[..., i].mean()))
    values = probabilities[..., rarest].astype(np.float32)
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    axes.set_title(f"probabilities: npz, here of {classes[rarest]}", fontsize=11)
    axes.set_axis_off()


def _polygons(axes: Axes, file: Path) -> None:
    import json

    from voc_builder.base.colours import voc_colours

    shapes: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["shapes"]
    names = list(dict.fromkeys(shape["label"] for shape in shapes))
    colours = voc_colours(len(names) + 1)[1:] / 255
    for shape in shapes:
        points = np.array(shape["points"])
        colour = colours[names.index(shape["label"])]
        if shape["shape_type"] == "polygon":
            closed = np.concatenate([points, points[:1]])
            axes.plot(*closed.T, "-o", color=colour, markersize=3, linewidth=1.2)
        else:  # a mask: its box
            (x0, y0), (x1, y1) = points
            axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], "--", color=colour)


def _shorten(text: str) -> str:
    return text if len(text) <= SHORTEST else f"{text[:SHORTEST]}…"


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(show_outputs, ShowConfig, "python -m scripts.show_outputs", argv)


if __name__ == "__main__":
    raise SystemExit(main())
