"""Check the shapes of a labelme annotation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

from voc_builder.base.problems import Problem, Severity
from voc_builder.pixels.geometry import find_crossing, is_flat
from voc_builder.sources.checks import check_label, check_size
from voc_builder.sources.labelme import LINE_WIDTH, POINT_RADIUS, Annotation, Shape


def check_annotation(
    annotation: Annotation, classes: Sequence[str], size: tuple[int, int] | None
) -> list[Problem]:
    """The problems of the annotation of an image of that upright (height, width); with None the
    checks that depend on the size are left out.
    """
    file = annotation.path
    problems = list(annotation.problems)
    if size is not None and annotation.height is not None and annotation.width is not None:
        annotated = (annotation.height, annotation.width)
        cure = "annotate this image, or put back the one that was annotated"
        problems += check_size(file, "imageHeight and imageWidth are", annotated, size, cure)
    for unread in annotation.problems:
        problems += check_label(file, unread.label, unread.shape, classes)
    seen: dict[tuple[object, ...], int] = {}
    for index, shape in annotation.numbered_shapes():
        problems += check_label(file, shape.label, index, classes)
        found = list(_check_shape(shape, size))
        pixels = shape.pixels()
        digest = None if pixels is None else hashlib.sha256(pixels.tobytes()).digest()
        first = seen.setdefault((shape.label, shape.shape_type, shape.points, digest), index)
        if first != index:
            found.append(("warning", "duplicate", f"the same as shape {first}", "delete one"))
        problems += [Problem(file, *what, index, shape.label) for what in found]
    return problems


def _check_shape(
    shape: Shape, size: tuple[int, int] | None
) -> Iterator[tuple[Severity, str, str, str]]:
    """Severity, rule, value and cure of each problem of the place of a shape."""
    if _has_no_area(shape):
        yield "error", "no-area", f"a {shape.shape_type} without area", "draw it again or delete it"
    elif shape.shape_type in ("polygon", "oriented_rectangle"):
        crossing = find_crossing(shape.points)
        if crossing:
            value = "the edges from points {} and {} meet".format(*crossing)
            yield "warning", "self-intersection", value, "move a point"
    if size is None:
        return
    height, width = size
    left, top, right, bottom = _box(shape)
    if right <= -1 or bottom <= -1 or left >= width or top >= height:
        yield "warning", "outside", "wholly outside the image", "delete it"


def _has_no_area(shape: Shape) -> bool:
    if (pixels := shape.pixels()) is not None:
        return not pixels.any()
    if shape.shape_type == "rectangle":
        (x0, y0), (x1, y1) = shape.points
        return x0 == x1 or y0 == y1
    if shape.shape_type == "circle":
        return shape.points[0] == shape.points[1]
    return shape.shape_type in ("polygon", "oriented_rectangle") and is_flat(shape.points)


def _box(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the painted area, within a pixel."""
    points = shape.points
    margins = {"line": LINE_WIDTH / 2, "linestrip": LINE_WIDTH / 2, "point": POINT_RADIUS}
    margin = margins.get(shape.shape_type, 0.0)
    if shape.shape_type == "circle":
        points, margin = points[:1], math.dist(*points)
    xs, ys = zip(*points, strict=True)
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin
