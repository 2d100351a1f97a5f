"""What a file may say about augmentation, and what is refused in one clear line."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import yaml

from segtf.data.pipelines import check_pipeline, leaves, load_pipeline, write_pipeline
from segtf.run.config import AUGMENTATIONS
from voc_builder.base.errors import UserError

PRESETS = sorted(path.stem for path in AUGMENTATIONS.glob("*.yaml"))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (48, 64), dtype=np.uint8)


def leaf(name: str, **arguments: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, "p": 0.5, **arguments}


def written(folder: Path, *transforms: Any, **arguments: Any) -> str:
    """A file with these transforms."""
    top = {"__class_fullname__": "Compose", "transforms": list(transforms), **arguments}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"transform": top}))
    return str(path)


def changed(pipeline: A.Compose, seed: int) -> bytes:
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
    result = pipeline(image=IMAGE, mask=MASK)
    return bytes(result["image"].tobytes() + result["mask"].tobytes())


def test_there_are_five_presets() -> None:
    assert PRESETS == ["heavy", "light", "medium", "none", "upright"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_albumentations_itself_reads(preset: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = A.load(AUGMENTATIONS / f"{preset}.yaml", data_format="yaml")
    ours = load_pipeline(preset)
    assert A.to_dict(theirs) == A.to_dict(ours)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_works_on_images_of_any_training_size(preset: str) -> None:
    for size in (32, 64, 200):
        check_pipeline(preset, (size, size))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_works_on_rectangles_without_its_quarter_turns(
    preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [type(leaf).__name__ for _, leaf in leaves(check_pipeline(preset, (48, 80)))]
    all_names = [type(leaf).__name__ for _, leaf in leaves(load_pipeline(preset))]
    assert names == [name for name in all_names if name != "Transpose"]
    assert ("3 (Transpose)" in capsys.readouterr().err) == (preset == "light")


def test_a_file_that_turns_rectangles_is_refused(tmp_path: Path) -> None:
    one_of = leaf("OneOf", transforms=[leaf("HorizontalFlip"), leaf("D4", p=0.01)])
    path = written(tmp_path, one_of)
    check_pipeline(path, (64, 64))
    says = r"transform 1\.2 \(D4\): turns images of 48 x 80 \(height x width\) by a quarter"
    with pytest.raises(UserError, match=says):
        check_pipeline(path, (48, 80))


def test_medium_is_shift_scale_rotate_flips_and_one_of_five() -> None:
    names = [type(transform).__name__ for _, transform in leaves(load_pipeline("medium"))]
    assert names == [
        *("HorizontalFlip", "VerticalFlip", "Affine"),
        *("OpticalDistortion", "GridDistortion", "GaussianBlur", "ImageCompression"),
        "RandomBrightnessContrast",
    ]


def test_numbers_do_not_drift_when_they_are_read_and_written(tmp_path: Path) -> None:
    transforms = [leaf("Affine"), leaf("ShiftScaleRotate", scale_limit=0.3), leaf("Perspective")]
    texts = []
    path = written(tmp_path, *transforms)
    for _ in range(3):
        write_pipeline(load_pipeline(path), tmp_path / "mine.yaml")
        texts.append(Path(path).read_text(encoding="utf-8"))
    assert texts == texts[:1] * 3


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pipeline_is_written_byte_by_byte_the_same_and_does_the_same(
    preset: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "run/augment.yaml", tmp_path / "again.yaml"
    write_pipeline(load_pipeline(preset), first)
    write_pipeline(load_pipeline(str(first)), second)
    assert first.read_bytes() == second.read_bytes()
    before, after = load_pipeline(preset), load_pipeline(str(first))
    for seed in range(25):
        assert changed(before, seed) == changed(after, seed)


def test_what_albumentations_writes_of_a_class_with_a_parent_is_read_again(tmp_path: Path) -> None:
    # of ShiftScaleRotate it writes the arguments of Affine too, and warns of them when it reads
    with pytest.warns(UserWarning, match="special case"):
        shift = A.ShiftScaleRotate(fill_mask=255, border_mode=0, p=1)
    pipeline = A.Compose([shift, A.ColorJitter()])
    path = tmp_path / "mine.yaml"
    A.save(pipeline, path, data_format="yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = check_pipeline(str(path), (64, 64))
    for seed in range(5):
        assert changed(again, seed) == changed(pipeline, seed)


def test_what_a_file_leaves_open_is_filled_with_void_wherever_it_is_nested(tmp_path: Path) -> None:
    nested = leaf("OneOf", transforms=[leaf("Sequential", transforms=[leaf("Affine")])])
    drops = [leaf("CoarseDropout"), leaf("PixelDropout"), leaf("Rotate", border_mode=4)]
    pipeline = check_pipeline(written(tmp_path, nested, *drops), (64, 64))
    affine, coarse, pixel, mirrored = (transform for _, transform in leaves(pipeline))
    assert affine.fill_mask == 255
    assert coarse.fill_mask is None  # the class stays what it was
    assert pixel.mask_drop_value is None
    assert mirrored.fill_mask == 0  # mirrored pixels of the mask are needed, no filling


FAULTS: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "unknown transform": (
        [leaf("HorizontalFlop")],
        {},
        ["transform 1 (HorizontalFlop)", "no transform", "did you mean HorizontalFlip?"],
    ),
    "a class that is no transform": ([leaf("BboxParams")], {}, ["no transform of albumentations"]),
    "a name alone": (["HorizontalFlip"], {}, ["transform 1 (HorizontalFlip)", "needs a line"]),
    "unknown argument": (
        [leaf("NoOp"), leaf("Affine", rotation=45)],
        {},
        ["transform 2 (Affine)", "takes no rotation", "it takes balanced_scale", "rotate"],
    ),
    "an argument of the parent that the transform ignores": (
        [leaf("ShiftScaleRotate", rotate=[-90, 90])],
        {},
        ["takes no rotate", "rotate_limit"],
    ),
    "unknown argument of Compose": ([], {"chance": 1}, ["Compose: takes no chance"]),
    "a wrong value": (
        [leaf("ImageCompression", quality_range=[60, 300])],
        {},
        ["transform 1 (ImageCompression)", "quality_range", "300"],
    ),
    "a value that albumentations would change": (
        [leaf("MotionBlur", blur_limit=[4, 8])],
        {},
        ["transform 1 (MotionBlur)", "must be odd"],
    ),
    "no p": ([{"__class_fullname__": "VerticalFlip"}], {}, ["without p"]),
    "no list": ([leaf("OneOf")], {}, ["transform 1 (OneOf)", "'transforms' must be a list"]),
    "a blended mask": (
        [leaf("OneOf", transforms=[leaf("NoOp"), leaf("Affine", mask_interpolation=1)])],
        {},
        ["transform 1.2 (Affine)", "mask_interpolation 1", "mask_interpolation: 0"],
    ),
    "a blended mask by Compose": ([], {"mask_interpolation": 2}, ["mask_interpolation 2"]),
    "a class where a rotation uncovers": (
        [leaf("SomeOf", n=1, transforms=[leaf("Rotate", fill_mask=0)])],
        {},
        ["transform 1.1 (Rotate)", "fill_mask 0", "write fill_mask: 255"],
    ),
    "a class in a hole": ([leaf("CoarseDropout", fill_mask=1)], {}, ["fill_mask 1"]),
    "a class in dropped pixels": (
        [leaf("PixelDropout", mask_drop_value=1)],
        {},
        ["mask_drop_value 1", "write mask_drop_value: 255"],
    ),
    "class ids as brightness": ([leaf("Morphological")], {}, ["transform 1 (Morphological)"]),
    "mosaic": ([leaf("Mosaic")], {}, ["use --mosaic"]),
    "code": ([leaf("Lambda")], {}, ["is code"]),
    "volumes": ([leaf("Pad3D", padding=1)], {}, ["volumes"]),
    "its own seed": ([], {"seed": 3}, ["Compose: seed 3", "leave it out"]),
    "boxes": ([], {"bbox_params": {"format": "coco"}}, ["bbox_params"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_one_line_with_file_transform_and_cure(
    fault: str, tmp_path: Path
) -> None:
    transforms, arguments, says = FAULTS[fault]
    path = written(tmp_path, *transforms, **arguments)
    with pytest.raises(UserError) as error:
        load_pipeline(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in says:
        assert part in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not YAML"),
        ("", "not a pipeline"),
        ("just words", "not a pipeline"),
        ("transform: {__class_fullname__: HorizontalFlip, p: 1}", "must be a Compose"),
    ],
)
def test_a_file_without_a_pipeline_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as error:
        load_pipeline(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


PROBED: dict[str, tuple[list[Any], list[str]]] = {
    "another size, rarely": (
        [leaf("NoOp"), leaf("Sequential", transforms=[leaf("CenterCrop", height=32, width=32)])],
        ["transform 2.1 (CenterCrop)", "(64, 64, 3)", "(32, 32, 3)"],
    ),
    "floats": ([leaf("Normalize", p=0.01)], ["transform 1 (Normalize)", "float32"]),
    "background in the cracks": (
        [leaf("GridElasticDeform", num_grid_xy=[4, 4], magnitude=12)],
        ["transform 1 (GridElasticDeform)", "class ids [0]"],
    ),
    "a crop larger than the image": (
        [leaf("HorizontalFlip"), leaf("RandomCrop", height=128, width=128)],
        ["transform 2 (RandomCrop)", "fails on an image of 64 x 64"],
    ),
    "other data": (
        [leaf("RandomCropNearBBox")],
        ["transform 1 (RandomCropNearBBox)", "cropping_bbox"],
    ),
}


@pytest.mark.parametrize("fault", PROBED)
def test_what_shows_on_images_only_is_found_at_the_start_however_rare(
    fault: str, tmp_path: Path
) -> None:
    transforms, says = PROBED[fault]
    path = written(tmp_path, *transforms)
    load_pipeline(path)
    with pytest.raises(UserError) as error:
        check_pipeline(path, (64, 64))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in says:
        assert part in message


def test_a_size_that_changes_on_the_way_and_comes_back_is_fine(tmp_path: Path) -> None:
    ways = [leaf("RandomScale", scale_limit=0.2), leaf("Resize", height=64, width=64, p=1)]
    check_pipeline(written(tmp_path, *ways), (64, 64))
    with pytest.raises(UserError, match=r"transform 1 \(RandomScale\)"):
        check_pipeline(written(tmp_path, ways[0]), (64, 64))
