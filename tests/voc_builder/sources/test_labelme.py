"""labelme files of every version are read, and their masks are labelme's own."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import io
import json
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.voc_builder.folders import (
    SHARED,
    image_bytes,
    needs_shared,
    square,
    write_annotated,
    write_json,
)
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError
from voc_builder.pixels.images import decode_image
from voc_builder.sources.labelme import (
    Annotation,
    Shape,
    draw_mask,
    guess_image,
    read_annotation,
    read_image,
)

Oracle = Callable[..., tuple[NDArray[np.int32], NDArray[np.int32]]]
REAL = sorted(SHARED.glob("labelme_samples/*/*.json"))
REAL += sorted(SHARED.glob("fishki_labelme_full/*.json"))


@pytest.fixture(scope="module")
def shapes_to_label() -> Oracle:
    """labelme's own, from its file alone: the package around it loads Qt and onnxruntime."""
    found = importlib.util.find_spec("labelme")
    if found is None or found.origin is None:
        pytest.skip("labelme is not installed: pip install labelme==6.3.1")
    path = Path(found.origin).parent / "utils/shape.py"
    spec = importlib.util.spec_from_file_location("labelme_shape", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    stand_in = types.ModuleType("labelme._label_file")
    stand_in.ShapeDict = dict  # type: ignore[attr-defined]  # a type hint is all it takes
    names = {"labelme": types.ModuleType("labelme"), "labelme._label_file": stand_in}
    with pytest.MonkeyPatch.context() as patch:
        for name, module_ in names.items():
            patch.setitem(sys.modules, name, module_)
        spec.loader.exec_module(module)
    return module.shapes_to_label


def annotation(*shapes: Shape, height: int, width: int) -> Annotation:
    return Annotation(Path("a.json"), shapes, height, width)


def png_base64(mask: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_draw_mask_clips_a_polygon_that_leaves_the_image() -> None:
    chip = Shape("chip", points=((-2, -2), (1, -2), (1, 0), (-2, 0)))
    mask = draw_mask(annotation(chip, height=2, width=4), ["background", "chip"])
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [0, 0, 0, 0]])  # Pillow paints the edge too
    assert mask.dtype == np.uint8


def test_later_shapes_cover_earlier_ones_and_background_erases() -> None:
    chip = Shape("chip", ((0, 0), (3, 1)), "rectangle")
    defect = Shape("defect", ((1, 0), (2, 0)), "rectangle")
    hole = Shape("background", ((2, 0), (2, 1)), "rectangle")
    mask = draw_mask(
        annotation(chip, defect, hole, height=2, width=5), ["background", "chip", "defect"]
    )
    np.testing.assert_array_equal(mask, [[1, 2, 0, 1, 0], [1, 1, 0, 1, 0]])


def test_ignore_is_void() -> None:
    ignored = Shape("__ignore__", ((1, 0), (2, 0)), "rectangle")
    mask = draw_mask(annotation(ignored, height=1, width=4), ["background"])
    np.testing.assert_array_equal(mask, [[0, 255, 255, 0]])


def test_a_mask_shape_that_leaves_the_image_is_clipped() -> None:
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    left = Shape("chip", ((-1, -1), (1, 1)), "mask", cross)
    right = Shape("chip", ((3, 0), (5, 2)), "mask", cross)
    mask = draw_mask(annotation(left, right, height=2, width=5), ["background", "chip"])
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0, 1], [1, 0, 0, 1, 1]])


def test_unknown_labels_are_all_named() -> None:
    shapes = [Shape(label, ((0, 0), (1, 1)), "rectangle") for label in ("b", "chip", "a")]
    with pytest.raises(UserError, match=r"\['a', 'b'\]"):
        draw_mask(annotation(*shapes, height=2, width=2), ["background", "chip"])


coordinates = st.one_of(
    st.integers(-10, 50),
    st.integers(-20, 100).map(lambda value: value / 2),
    st.floats(-10, 50, allow_nan=False),
)
points = st.tuples(coordinates, coordinates)
COUNTS = {
    "polygon": st.integers(3, 12),
    "rectangle": st.just(2),
    "circle": st.just(2),
    "line": st.just(2),
    "linestrip": st.integers(2, 8),
    "point": st.just(1),
    "oriented_rectangle": st.just(4),
}


@st.composite
def drawn_shapes(draw: st.DrawFn) -> Shape:
    kind = draw(st.sampled_from([*COUNTS, "mask"]))
    label = draw(st.sampled_from(["background", "a", "b"]))
    if kind != "mask":
        count = draw(COUNTS[kind])
        return Shape(label, tuple(draw(st.lists(points, min_size=count, max_size=count))), kind)
    x0, y0 = draw(st.tuples(st.integers(0, 10), st.integers(0, 10)))  # inside every image drawn
    height, width = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    corners = ((x0 + 0.75, y0 + 0.25), (x0 + width - 1 + 0.5, y0 + height - 1.0))
    return Shape(label, corners, kind, np.array(bits, bool).reshape(height, width))


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(
    shapes=st.lists(drawn_shapes(), max_size=4),
    height=st.integers(18, 40),
    width=st.integers(18, 40),
)
def test_masks_of_random_shapes_are_those_of_labelme(
    shapes_to_label: Oracle, shapes: list[Shape], height: int, width: int
) -> None:
    classes = ["background", "a", "b"]
    expected, _ = shapes_to_label(
        (height, width), [as_labelme(one) for one in shapes], ids(classes)
    )
    drawn = draw_mask(annotation(*shapes, height=height, width=width), classes)
    np.testing.assert_array_equal(drawn, expected)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_masks_of_real_files_are_those_of_labelme(shapes_to_label: Oracle, path: Path) -> None:
    read = read_annotation(path)
    height, width = decode_image(read_image(read), str(path)).shape[:2]
    assert (read.height, read.width) in ((height, width), (None, None))
    classes = ["background", *sorted({shape.label for shape in read.shapes} - {"__ignore__"})]
    raw = json.loads(path.read_text(encoding="utf-8"))["shapes"]
    for shape in raw:
        if shape.get("mask"):
            shape["mask"] = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
    expected, _ = shapes_to_label((height, width), raw, {**ids(classes), "__ignore__": 255})
    drawn = draw_mask(dataclasses.replace(read, height=height, width=width), classes)
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.any() or not raw


def as_labelme(shape: Shape) -> dict[str, Any]:
    given_points = [list(point) for point in shape.points]
    kind = None if shape.shape_type == "polygon" else shape.shape_type  # old files say nothing
    return {"label": shape.label, "points": given_points, "shape_type": kind, "mask": shape.mask}


def ids(classes: list[str]) -> dict[str, int]:
    return {name: class_id for class_id, name in enumerate(classes)}


def test_a_file_without_version_shape_type_and_size_is_read(tmp_path: Path) -> None:
    shape = {"label": "chip", "points": [[0, 0], [3, 0], [3, 3]], "line_color": None}
    path = write_annotated(
        tmp_path / "a.json", [shape], version=..., imageHeight=..., imageWidth=..., flags=...
    )
    read = read_annotation(path)
    assert read.shapes == (Shape("chip", ((0, 0), (3, 0), (3, 3)), "polygon"),)
    assert (read.height, read.width, read.image) == (None, None, tmp_path / "a.jpg")


def test_a_mask_shape_is_read_from_its_png(tmp_path: Path) -> None:
    drawn = np.array([[True, False], [True, True], [False, True]])
    shape = {"label": "chip", "points": [[2, 1], [3, 3]], "shape_type": "mask"}
    shape["mask"] = png_base64(drawn)
    read = read_annotation(write_annotated(tmp_path / "a.json", [shape]))
    np.testing.assert_array_equal(read.shapes[0].pixels(), drawn)
    mask = draw_mask(read, ["background", "chip"])
    np.testing.assert_array_equal(mask[1:4, 2:4], drawn)
    assert mask.sum() == drawn.sum()


def test_a_mask_shape_is_kept_as_small_as_it_came(tmp_path: Path) -> None:
    side = 1000
    shape = {"label": "chip", "points": [[0, 0], [side - 1, side - 1]], "shape_type": "mask"}
    shape["mask"] = png_base64(np.ones((side, side), bool))
    (read,) = read_annotation(write_annotated(tmp_path / "a.json", [shape])).shapes
    assert len(pickle.dumps(read)) < 10_000


def test_an_image_inside_the_json_wins_over_the_one_it_names(tmp_path: Path) -> None:
    inside = image_bytes(seed=77)
    path = write_annotated(tmp_path / "a.json", imageData=base64.b64encode(inside).decode())
    read = read_annotation(path)
    assert (read.image, read.embedded) == (tmp_path / "a.jpg", True)
    assert read_image(read) == inside


def test_an_empty_image_inside_the_json_is_none(tmp_path: Path) -> None:
    read = read_annotation(write_annotated(tmp_path / "a.json", imageData="", seed=5))
    assert read_image(read) == image_bytes(seed=5)


@pytest.mark.parametrize(
    "named", ["..\\photos\\b.jpg", "../photos/b.jpg", "/nowhere/b.jpg", "C:\\nowhere\\b.jpg"]
)
def test_the_image_is_found_however_it_is_named(tmp_path: Path, named: str) -> None:
    for folder in ("photos", "json"):
        (tmp_path / folder).mkdir()
    place = tmp_path / ("json" if "nowhere" in named else "photos") / "b.jpg"
    place.write_bytes(image_bytes())
    read = read_annotation(write_json(tmp_path / "json/a.json", imagePath=named))
    assert read.image is not None and read.image.resolve() == place.resolve()


def test_an_absolute_path_that_exists_is_taken(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.jpg"
    place.write_bytes(image_bytes())
    (tmp_path / "json").mkdir()
    read = read_annotation(write_json(tmp_path / "json/a.json", imagePath=str(place)))
    assert read.image == place


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "json-unreadable"),
        ("[" * 100_000, "json-unreadable"),
        ("\xff", "json-unreadable"),
        ('{"images": []}', "not-labelme"),
        ("[1]", "not-labelme"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: str, rule: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(AnnotationError) as caught:
        read_annotation(path)
    assert [(one.file, one.rule) for one in caught.value.problems] == [(path, rule)]


@pytest.mark.parametrize("content", ['{"shapes": [], "imagePath": "b.jpg"}', '{"shapes": []}'])
def test_a_missing_image_leaves_the_shapes_readable(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(AnnotationError) as caught:
        read_image(read_annotation(path))
    assert [(one.file, one.rule) for one in caught.value.problems] == [(path, "photo-missing")]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"imagePath": "дети.jpg", "shapes": [', "дети.jpg"),
        ('{"shapes": null, "imagePath" : "..\\\\x\\\\b.jpg"}', "b.jpg"),
        ('{"imagePath": "none.jpg", "shapes": [', None),
        ('{"imagePath": "b.j', None),
        ('{"imagePath": "\\u12"', None),
    ],
)
def test_a_broken_file_still_tells_its_image(
    tmp_path: Path, content: str, named: str | None
) -> None:
    for name in ("дети.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(image_bytes())
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    assert guess_image(tmp_path / "a.json") == (tmp_path / named if named else None)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"label": None}, "no label"),
        ({"shape_type": "star"}, "shape_type 'star'"),
        ({"points": [[0, 0], [1, 1]]}, "a polygon of 2 points"),
        ({"points": [[0, 0]], "shape_type": "circle"}, "a circle of 1 points"),
        ({"points": None}, "points are not"),
        ({"points": [[0, 0], [1], [2, 2]]}, "points are not"),
        ({"points": [[0, 0], [float("nan"), 1], [2, 2]]}, "a point lies over"),
        ({"points": [[0, 0], [1e12, 1], [2, 2]]}, "a point lies over"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "?"}, "mask is not a PNG"),
    ],
)
def test_shapes_that_labelme_could_not_draw_are_all_named_and_the_others_read(
    tmp_path: Path, fields: dict[str, Any], value: str
) -> None:
    shapes = [square("a"), {**square("b"), **fields}, square("c", points=[]), square("d")]
    read = read_annotation(write_annotated(tmp_path / "a.json", shapes))
    first, second = read.problems
    assert (first.shape, first.rule, first.value[: len(value)]) == (1, "shape", value)
    assert (second.shape, second.label) == (2, "c")
    assert [(place, shape.label) for place, shape in read.numbered_shapes()] == [(0, "a"), (3, "d")]
    with pytest.raises(AnnotationError):
        draw_mask(read, ["background", "a", "d"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = ["shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "version", "flags"]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    top=st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3),
    fields=st.dictionaries(
        st.sampled_from(["label", "points", "shape_type", "mask", "group_id"]), json_values
    ),
)
def test_any_json_is_an_annotation_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, top: dict[str, Any], fields: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = write_annotated(folder / "any.json", [{**square("chip"), **fields}])
    path.write_text(json.dumps({**json.loads(path.read_text()), **top}))
    try:
        read = read_annotation(path)
    except AnnotationError as error:
        assert all(problem.file == path for problem in error.problems)
        return
    assert len(read.shapes) + len(read.problems) == len(json.loads(path.read_text())["shapes"])
    if not read.problems:
        sized = dataclasses.replace(read, height=6, width=8)
        draw_mask(sized, ["background", *{shape.label for shape in read.shapes}])


def test_a_name_too_long_for_a_file_is_a_missing_image(tmp_path: Path) -> None:
    read = read_annotation(write_json(tmp_path / "a.json", imagePath="x" * 5000))
    with pytest.raises(AnnotationError, match="photo-missing"):
        read_image(read)


def test_a_mask_that_does_not_fill_its_box_is_named(tmp_path: Path) -> None:
    shape = {"label": "chip", "points": [[0, 0], [5, 5]], "shape_type": "mask"}
    shape["mask"] = png_base64(np.ones((2, 2), bool))
    (problem,) = read_annotation(write_annotated(tmp_path / "a.json", [shape])).problems
    assert problem.value == "mask of shape (2, 2) in a box of (6, 6)"
