"""Read labelme JSON (versions 3.16 to 7) and paint its shapes into one class-id mask."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from voc_builder.base.colours import IGNORE, VOID
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError, Problem
from voc_builder.sources.sample import EMPTY_SHA256

FARTHEST = 1_000_000  # pixels; larger coordinates are errors and overflow Pillow's integers
LINE_WIDTH = 10  # pixels, in labelme's masks
POINT_RADIUS = 5  # pixels, in labelme's masks
POINTS = {  # minimum and maximum number of points
    "polygon": (3, None),
    "rectangle": (2, 2),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "mask": (2, 2),
    "oriented_rectangle": (4, 4),
}


@dataclass(frozen=True)
class Shape:
    """One shape; `points` are (x, y) in pixels. `mask` is only set for shape_type mask: the encoded
    PNG, because all masks of a data set decoded may not fit in memory, or its pixels.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    shape_type: str = "polygon"
    mask: bytes | NDArray[np.bool_] | None = None

    def pixels(self) -> NDArray[np.bool_] | None:
        """The decoded mask, shape (height, width)."""
        return _decode(self.mask) if isinstance(self.mask, bytes) else self.mask


@dataclass(frozen=True)
class Annotation:
    """One labelme file: the shapes that can be drawn, and the problems of the others."""

    path: Path
    shapes: tuple[Shape, ...]
    height: int | None = None  # missing in old files
    width: int | None = None
    image: Path | None = None  # the existing file that imagePath names
    embedded: bool = False  # the JSON holds an image, which is used instead of `image`
    sha256: str = EMPTY_SHA256
    problems: tuple[Problem, ...] = ()

    def numbered_shapes(self) -> list[tuple[int, Shape]]:
        """The shapes with their indices in the file, where invalid shapes count too."""
        invalid = {problem.shape for problem in self.problems}
        places = (place for place in itertools.count() if place not in invalid)
        return list(zip(places, self.shapes, strict=False))


def draw_mask(annotation: Annotation, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Class ids, shape (height, width); later shapes cover earlier ones, `__ignore__` becomes 255.

    The pixels are those of `labelme.utils.shapes_to_label` in labelme 6.3.1, which draws each shape
    into a mask of its own; here all are drawn into one, as Pillow sets the same pixels for any
    value. Raises `UserError` for invalid shapes, unknown labels and an unknown size.
    """
    if annotation.problems:
        raise AnnotationError(annotation.problems)
    unknown = sorted({shape.label for shape in annotation.shapes} - {*classes, IGNORE})
    if unknown:
        raise UserError(
            f"{annotation.path}: labels {unknown} are not among the classes {list(classes)}"
        )
    if annotation.height is None or annotation.width is None:
        raise UserError(f"{annotation.path}: no imageHeight and imageWidth, and no image to ask")
    image = Image.new("L", (annotation.width, annotation.height))
    for shape in annotation.shapes:
        class_id = VOID if shape.label == IGNORE else classes.index(shape.label)
        _paint(image, shape, class_id)
    return np.array(image)


def _paint(image: Image.Image, shape: Shape, class_id: int) -> None:
    draw, points = ImageDraw.Draw(image), list(shape.points)
    pixels = shape.pixels()
    if pixels is not None:
        # labelme truncates the corner to whole pixels; Pillow clips at the edges of the image
        corner = (int(points[0][0]), int(points[0][1]))
        image.paste(class_id, corner, Image.fromarray(pixels.astype(np.uint8) * 255))
    elif shape.shape_type == "rectangle":
        (x0, y0), (x1, y1) = points
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        draw.rectangle(box, outline=class_id, fill=class_id)
    elif shape.shape_type in ("circle", "point"):
        x, y = points[0]
        radius = math.dist(*points) if shape.shape_type == "circle" else POINT_RADIUS
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, outline=class_id, fill=class_id)
    elif shape.shape_type in ("line", "linestrip"):
        draw.line(points, fill=class_id, width=LINE_WIDTH)
    else:
        draw.polygon(points, outline=class_id, fill=class_id)


def read_annotation(path: Path) -> Annotation:
    """The labelme file at `path`. Raises `AnnotationError` if it cannot be read as one."""
    encoded = _read(path)
    content = _parse(path, encoded)
    problems: list[Problem] = []
    shapes = []
    for index, entry in enumerate(content["shapes"]):
        try:
            shapes.append(_shape(entry))
        except ValueError as error:
            label = entry.get("label") if isinstance(entry, dict) else None
            value, _, cure = str(error).partition(": ")
            known = label if isinstance(label, str) else None
            problems.append(Problem(path, "error", "shape", value, cure, index, known))
    return Annotation(
        path,
        tuple(shapes),
        _whole(content.get("imageHeight")),
        _whole(content.get("imageWidth")),
        _find_image(path, content.get("imagePath")),
        embedded=bool(content.get("imageData")),
        sha256=hashlib.sha256(encoded).hexdigest(),
        problems=tuple(problems),
    )


def guess_image(path: Path) -> Path | None:
    """The image that an unreadable labelme file names, for instance a truncated one."""
    try:
        found = re.search(rb'"imagePath"\s*:\s*("(?:[^"\\]|\\.)*")', path.read_bytes())
        return _find_image(path, json.loads(found[1])) if found else None
    except (OSError, ValueError):
        return None


def read_image(annotation: Annotation) -> bytes:
    """The encoded image: the one inside the JSON, else the file. Raises `AnnotationError` if there
    is neither, `OSError` if it cannot be read.
    """
    if annotation.image is not None and not annotation.embedded:
        return annotation.image.read_bytes()
    content = _parse(annotation.path, _read(annotation.path))
    if not annotation.embedded:
        named = f"imagePath {content.get('imagePath')!r} does not exist"
        cure = "put the image there or beside the JSON, or correct imagePath"
        raise AnnotationError([Problem(annotation.path, "error", "photo-missing", named, cure)])
    try:
        return base64.b64decode(content["imageData"])
    except (binascii.Error, TypeError, ValueError):
        value, cure = "imageData is not base64", "save the file again in labelme"
        problem = Problem(annotation.path, "error", "photo-unreadable", value, cure)
        raise AnnotationError([problem]) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        problem = Problem(path, "error", "json-unreadable", reason, "check its permissions")
        raise AnnotationError([problem]) from None


def _parse(path: Path, encoded: bytes) -> dict[str, Any]:
    try:
        content = json.loads(encoded.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        value = f"not readable as JSON ({error})"
        problem = Problem(path, "error", "json-unreadable", value, "save it again in labelme")
        raise AnnotationError([problem]) from None
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return content
    value, cure = "JSON without a list `shapes`, so not labelme", "move it out of the folder"
    raise AnnotationError([Problem(path, "error", "not-labelme", value, cure)])


def _find_image(path: Path, named: object) -> Path | None:
    """The image that the JSON at `path` names: at that path, or by its name beside the JSON."""
    if not isinstance(named, str) or not named:
        return None
    windows = PureWindowsPath(named)  # splits at both kinds of slashes
    places = (named, windows.as_posix(), windows.name)
    try:
        return next((found for place in places if (found := path.parent / place).is_file()), None)
    except OSError:  # the name is too long
        return None


def _whole(side: object) -> int | None:
    return int(side) if isinstance(side, int | float) and math.isfinite(side) else None


def _shape(entry: Any) -> Shape:
    """A shape of the JSON. Raises `ValueError("what: cure")` if labelme could not draw it."""
    redraw = "draw it again in labelme or delete it"
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise ValueError(f"no label: {redraw}")
    kind = entry.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in POINTS:
        raise ValueError(f"shape_type {kind!r} is not one of {', '.join(POINTS)}: {redraw}")
    try:
        points = tuple((float(x), float(y)) for x, y in entry["points"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"points are not a list of [x, y]: {redraw}") from None
    if not all(abs(value) <= FARTHEST for point in points for value in point):  # NaN too
        raise ValueError(f"a point lies over {FARTHEST} pixels away: {redraw}")
    fewest, most = POINTS[kind]
    if len(points) < fewest or (most and len(points) > most):
        wanted = f"{fewest}" if most else f"at least {fewest}"
        raise ValueError(f"a {kind} of {len(points)} points, needs {wanted}: {redraw}")
    return Shape(entry["label"], points, kind, _mask(entry, points) if kind == "mask" else None)


def _mask(entry: dict[str, Any], points: tuple[tuple[float, float], ...]) -> bytes:
    """The PNG of a mask. Raises `ValueError` if it cannot be decoded or does not fill its box."""
    try:
        png = base64.b64decode(entry["mask"])
        shape = _decode(png).shape
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("mask is not a PNG in base64: draw it again in labelme") from None
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in points)
    box = (y1 - y0 + 1, x1 - x0 + 1)  # both corners belong to it
    if shape != box:
        raise ValueError(f"mask of shape {shape} in a box of {box}: draw it again in labelme")
    return png


def _decode(png: bytes) -> NDArray[np.bool_]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).astype(bool)
