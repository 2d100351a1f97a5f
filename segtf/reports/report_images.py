"""Show the overlays of a run as galleries of thumbnails."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path, PurePath

from segtf.outputs.page import missing, picture, prose
from segtf.run.folder import OVERLAYS, PROGRESS
from segtf.scoring.faults import Faults, faults_of
from segtf.scoring.split_scores import ImageScores, ShownScores
from voc_builder.base.files import replacing
from voc_builder.pixels.images import decode_image, encode_jpeg, resize_image

THUMBNAIL = 480  # pixels, the longer side
STRIP = 1200  # pixels, the width of a progress picture on the page
THUMBNAILS = "thumbnails"  # folder in the run


def image_gallery(run: Path, shown: ShownScores | None) -> str:
    """Thumbnails of the overlays, those with the most faults first by the scores of the masks that
    they show; by name where a run of an earlier version has none.
    """
    folder = run / OVERLAYS
    paths = sorted(
        path
        for path in folder.rglob("*.jpg")
        if PROGRESS not in path.relative_to(folder).parts and not path.name.startswith(".")
    )
    if not paths:
        return missing("There are no overlays: the run has not come to its end.")
    scores = {} if shown is None else {image.id: image for image in shown.rows}

    def faults(path: Path) -> Faults:
        row = scores.get(_image_id(path, folder))
        return Faults(0, 0, 0.0) if row is None else faults_of(row)

    figures = []
    for path in sorted(paths, key=lambda path: (faults(path).rank, path.name)):
        image_id = _image_id(path, folder)
        small = PurePath(THUMBNAILS, path.relative_to(folder))
        _write_thumbnail(path, run / small, THUMBNAIL)
        caption = _image_caption(image_id, scores.get(image_id))
        full = PurePath(path.relative_to(run))
        figures.append(picture(small, caption, full=full))
    order = "worst first" if any(map(faults, paths)) else "by name"
    note = f"{len(paths)} images, {order}. A click opens the full size. Solid: prediction; "
    note += "dashed: annotation, where it is drawn."
    return f'<p class="soft">{note}</p><div class="images">{"".join(figures)}</div>'


def _image_id(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _image_caption(image_id: str, scores: ImageScores | None) -> str:
    if scores is None:
        return f"<b>{escape(image_id)}</b>"
    of_classes = ", ".join(
        f"{escape(name)} {value:.3f}" for name, value in scores.iou.items() if value is not None
    )
    faults = prose(str(faults_of(scores)))
    return f'<b>{escape(image_id)}</b> {faults}<br><span class="soft">IoU {of_classes}</span>'


def progress_gallery(run: Path) -> str:
    """The same few images after some of the epochs, in order."""
    folder = run / OVERLAYS / PROGRESS
    paths = sorted(path for path in folder.glob("*.jpg") if not path.name.startswith("."))
    if not paths:
        return missing("There are no pictures of the progress: no epoch has ended.")
    figures = []
    for path in paths:
        small = PurePath(THUMBNAILS, PROGRESS, path.name)
        _write_thumbnail(path, run / small, STRIP)
        # epoch-0012.jpg
        caption = escape(re.sub(r"^epoch-0*(\d)", r"epoch \1", path.stem))
        figures.append(picture(small, caption, full=PurePath(path.relative_to(run))))
    note = "The same validation images, annotation above, prediction below."
    return f'<p class="soft">{note}</p><div class="strips">{"".join(figures)}</div>'


def _write_thumbnail(photo: Path, out: Path, longest: int) -> None:
    image = decode_image(photo.read_bytes(), str(photo))
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    small = resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))
    with replacing(out) as beside:
        beside.write_bytes(encode_jpeg(small, quality=85))  # a few kilobytes an image
