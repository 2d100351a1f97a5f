"""All outputs of a folder of images, read back by their usual readers, agree on the mask."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from segtf.inference.postprocess import Postprocess, Rule
from segtf.inference.prediction import STEPS, ask
from segtf.inference.predictor import Predictor, open_predictor
from segtf.outputs import files, folder
from segtf.outputs.coco import coco_annotations
from segtf.outputs.files import OUTPUTS, Wanted
from segtf.outputs.folder import predict_images
from segtf.outputs.labelme_json import labelme_annotation
from segtf.outputs.truth import check_truth
from segtf.run.config import TrainConfig
from segtf.run.provenance import digest_image, trained_on
from segtf.run.typed_json import to_json
from segtf.scoring import metrics
from tests.segtf.drawn_masks import decoded_runs
from tests.segtf.tiny_onnx import INFO, write_channels_model
from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.colours import voc_colours
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.pixels.image_rows import open_image
from voc_builder.pixels.overlay import draw_overlay
from voc_builder.pixels.png import decode_mask, encode_mask
from voc_builder.sources.labelme import draw_mask, read_annotation, read_image

CLASSES = ("background", "chip", "дефект")
COLOURS = voc_colours(3)
SIZE = (60, 80)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Red is background, green a chip, blue a defect; tiles of 16, so that there are many."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    info = dataclasses.replace(INFO, classes=CLASSES, shape=(16, 16), mode="tile")
    return open_predictor([write_channels_model(path, info=info)])


def drawing(seed: int) -> NDArray[np.uint8]:
    """An image of a chip with a hole and a defect on a red ground, at a place of its own."""
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), (200, 20, 10), np.uint8)
    x, y = (int(rng.integers(18, side - 18)) for side in SIZE[::-1])
    cv2.circle(image, (x, y), 15, (30, 220, 0), -1)
    cv2.circle(image, (x, y), 3, (200, 20, 10), -1)
    cv2.rectangle(image, (x - 10, y - 6), (x - 6, y + 8), (0, 60, 180), -1)
    return image


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / name for name in ("a.png", "part 2/b.png", "part 2/ж.png")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing(seed)).save(path)
    return paths


def masks(images: list[Path], predictor: Predictor) -> list[NDArray[np.uint8]]:
    found = []
    for path in images:
        with open_image(path) as image:
            found.append(predictor.mask(image))
    assert [sorted(np.unique(mask).tolist()) for mask in found] == [[0, 1, 2]] * len(images)
    return found


def test_all_outputs_agree_on_the_mask(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = predict_images(predictor, images, out, Wanted(OUTPUTS, shapes="mask"))
    assert (done.done, done.left_out, done.unusable) == (3, (), 0)
    coco = COCO(str(out / "coco.json"))
    with (out / "rle.csv").open(encoding="utf-8") as file:
        runs = {row["id"]: row["rle_mask"] for row in csv.DictReader(file)}
    assert list(runs) == ["a", "b", "ж"]
    for path, mask, image_id in zip(images, masks(images, predictor), (1, 2, 3), strict=True):
        name = path.stem
        found = decode_mask((out / f"masks/{name}.png").read_bytes())
        np.testing.assert_array_equal(found, mask)

        annotation = read_annotation(out / f"labelme/{name}.json")
        assert read_image(annotation) == path.read_bytes(), "the way to the image"
        np.testing.assert_array_equal(draw_mask(annotation, CLASSES), mask)

        np.testing.assert_array_equal(decoded_runs(runs[name], *SIZE), mask > 0)

        seen = np.zeros(SIZE, np.uint8)
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=[image_id])):
            seen[coco.annToMask(entry) > 0] = entry["category_id"]
        np.testing.assert_array_equal(seen, mask)
        assert (
            coco.loadImgs([image_id])[0]["file_name"]
            == path.relative_to(tmp_path / "photos").as_posix()
        )

        with Image.open(out / f"cutouts/{name}.png") as cut:
            assert cut.mode == "RGBA"
            alpha = np.asarray(cut)[..., 3]
        inside, outside = cv2.erode(mask, np.ones((5, 5))), cv2.dilate(mask, np.ones((7, 7)))
        assert (alpha[inside > 0] == 255).all()
        assert not alpha[outside == 0].any()
        with Image.open(out / f"overlays/{name}.jpg") as overlay:
            assert overlay.size == SIZE[::-1]


def test_every_output_is_post_processed(
    predictor: Predictor, images: list[Path], tmp_path: Path
) -> None:
    rules = Postprocess((Rule("chip", "pixels", hole=60), Rule("дефект", "pixels", 150)), 0.5, 0.6)
    info = dataclasses.replace(
        INFO, classes=CLASSES, shape=(16, 16), mode="tile", postprocess=rules
    )
    model = write_channels_model(tmp_path / "processed.onnx", info=info)
    predict_images(open_predictor([model]), images, tmp_path / "processed", Wanted(OUTPUTS))
    plain = open_predictor([model], postprocess=False)
    predict_images(plain, images, tmp_path / "plain", Wanted(OUTPUTS))
    for path, before in zip(images, masks(images, predictor), strict=True):
        unprocessed = decode_mask((tmp_path / f"plain/masks/{path.stem}.png").read_bytes())
        np.testing.assert_array_equal(unprocessed, before)
        found = decode_mask((tmp_path / f"processed/masks/{path.stem}.png").read_bytes())
        assert sorted(np.unique(found).tolist()) == [0, 1], "the defect is small"
        filled = (before == 0) & (found == 1)
        assert 20 < filled.sum() <= 60, "the hole"
        alphas = []
        for name in ("plain", "processed"):
            with Image.open(tmp_path / f"{name}/cutouts/{path.stem}.png") as cut:
                alphas.append(np.asarray(cut)[..., 3])
        middle = cv2.erode(filled.astype(np.uint8), np.ones((3, 3))) > 0
        assert (alphas[0][middle] < 128).all()
        assert (alphas[1][middle] == 255).all()


def test_the_cut_out_follows_the_decision_threshold(predictor: Predictor) -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:] = (153, 0, 102)  # background at 0.6, a defect at 0.4
    assert not ask(predictor, image).mask.any()
    answer = ask(predictor, image, background=True, threshold=(2, 0.3))
    assert answer.background is not None
    assert (answer.mask == 2).all()
    assert not answer.background.any()
    answer = ask(predictor, image, background=True, threshold=(2, 0.5))
    assert answer.background is not None
    assert not answer.mask.any()
    assert (answer.background > 0.5).all()


def test_probabilities_are_those_of_every_pixel_and_say_whose(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    predict_images(predictor, images[:1], tmp_path, Wanted(("probabilities",)))
    with np.load(tmp_path / "probabilities/a.npz") as stored:
        assert stored["classes"].tolist() == list(CLASSES)
        assert stored["probabilities"].dtype == np.float16
        found = stored["probabilities"].astype(np.float64)
    with open_image(images[0]) as image:
        wanted = predictor.probabilities(image)
    assert found.shape == (*SIZE, 3)
    assert np.abs(found - wanted).max() <= 0.5 / STEPS + 1e-6


def test_run_lengths_are_of_the_class_that_is_named(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    predict_images(predictor, images, tmp_path, Wanted(("rle",), rle_class="дефект"))
    lines = (tmp_path / "rle.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,rle_mask"
    for line, mask in zip(lines[1:], masks(images, predictor), strict=True):
        np.testing.assert_array_equal(decoded_runs(line.split(",")[1], *SIZE), mask == 2)


def annotate(path: Path, label: str) -> None:
    """A labelme file of one shape beside an image."""
    box = {"label": label, "shape_type": "rectangle", "points": [[0, 0], [9, 9]]}
    content = {"version": "6.3.1", "imagePath": path.name, "imageData": None, "shapes": [box]}
    path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def queue_of(out: Path) -> list[list[str]]:
    with (out / "queue.csv").open(encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_queue_has_unsure_images_first_and_then_annotations_that_disagree(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    sure, blank = np.zeros((2, *SIZE, 3), np.uint8)
    sure[..., 0], blank[..., 0] = 255, 255
    sure[:30, :30] = (10, 245, 0)
    for name, image in (("sure", sure), ("blank", blank)):
        images.append(images[0].with_name(f"{name}.png"))
        Image.fromarray(image).save(images[-1])
    annotate(images[1], "chip")  # a box in a corner: far off
    truth = masks(images[2:3], predictor)[0]
    content = files.encode_labelme(
        images[2], truth, CLASSES, images[2].with_suffix(".json"), Wanted()
    )
    images[2].with_suffix(".json").write_bytes(content)

    done = predict_images(predictor, images, tmp_path, Wanted(("mask",), queue=True))
    head, *rows = queue_of(tmp_path)
    assert head == ["task", "photo", "uncertainty", "missed", "false_alarms", "wrong"]
    assert [(task, Path(image).name) for task, image, *_ in rows] == [
        ("annotate", "a.png"),
        ("annotate", "sure.png"),
        ("annotate", "blank.png"),
        ("check", "b.png"),
        ("check", "ж.png"),
    ]
    assert [str(one.image) for one in done.queue] == [image for _, image, *_ in rows]
    assert 0 == float(rows[2][2]) <= float(rows[1][2]) < 0.1 < float(rows[0][2])
    assert rows[3][3:5] == ["1", "2"], "the box; the chip and the defect"
    assert rows[4][3:5] == ["0", "0"]
    assert float(rows[3][5]) > 0.1 > 0.01 > float(rows[4][5])
    assert [row[3:] for row in rows[:3]] == [["", "", ""]] * 3


def test_a_missed_object_is_to_be_checked_before_specks_on_an_empty_image(
    predictor: Predictor, tmp_path: Path
) -> None:
    empty, chip = np.full((2, *SIZE, 3), (200, 20, 10), np.uint8)
    empty[0, :3] = chip[5:50, 5:50] = (30, 220, 0)
    truths = {"empty": np.zeros(SIZE, np.uint8), "chip": np.zeros(SIZE, np.uint8)}
    truths["chip"][5:50, 5:50], truths["chip"][10:20, 10:20] = 1, 2
    (tmp_path / "truths").mkdir()
    for name, image in (("empty", empty), ("chip", chip)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        (tmp_path / f"truths/{name}.png").write_bytes(encode_mask(truths[name]))
    images = [tmp_path / f"{name}.png" for name in truths]
    wanted = Wanted(("mask",), queue=True)
    done = predict_images(predictor, images, tmp_path, wanted, truth=tmp_path / "truths")
    assert [one.image.stem for one in done.queue] == ["chip", "empty"]
    row = queue_of(tmp_path)[2]
    assert row[3:] == ["0", "0", f"{3 / (SIZE[0] * SIZE[1]):.6f}"]


def test_masks_of_a_folder_are_compared_with_too(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    truths = tmp_path / "truths"
    truths.mkdir()
    (first, second, _) = masks(images, predictor)
    (truths / "a.png").write_bytes(encode_mask(first))
    (truths / "b.png").write_bytes(encode_mask(np.where(second == 1, np.uint8(2), second)))
    annotate(images[2], "chip")  # not asked for: there is a folder
    predict_images(predictor, images, tmp_path, Wanted(("mask",), queue=True), truth=truths)
    found = {Path(row[1]).stem: row[3:] for row in queue_of(tmp_path)[1:]}
    assert found["a"] == ["0", "0", "0.000000"]
    assert found["b"][1] == "1", "the chip"
    assert found["ж"] == ["", "", ""]


def test_an_image_is_not_compared_with_the_annotation_of_another_of_its_name(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled"
    for split, name in (("train", "a.png"), ("val", "z.png")):
        write_image(labelled / split / name)
        write_mask(labelled / f"{split}_mask" / name, [0, 1], size=SIZE[::-1])
    Image.fromarray(drawing(7)).save(labelled / "train/a.png")
    Image.fromarray(drawing(8)).save(labelled / "val/z.png")
    tree = build(BuildConfig(labelled, tmp_path / "voc", records=False)).path
    asked = [images[0], labelled / "train/a.png"]
    done = predict_images(
        predictor, asked, tmp_path / "out", Wanted(queue=True), truth=tree / "SegmentationClass"
    )
    assert [(one.image, one.task) for one in done.queue] == [
        (images[0], "annotate"),
        (asked[1], "check"),
    ]
    assert done.scores and done.scores.images == 1

    twin = Path(shutil.copy(images[0], images[0].with_suffix(".bmp")))
    annotate(twin, "chip")  # a.json names a.bmp
    asked = [images[0], twin]
    done = predict_images(predictor, asked, tmp_path / "out", Wanted(queue=True))
    assert [(one.image, one.task) for one in done.queue] == [
        (images[0], "annotate"),
        (twin, "check"),
    ]


def test_images_with_masks_are_scored_at_their_full_size_but_those_it_was_trained_on(
    images: list[Path], predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truths, run = tmp_path / "truths", tmp_path / "run"
    truths.mkdir()
    run.mkdir()
    own = open_predictor([Path(shutil.copy(predictor.models[0].path, run))])
    (first, second, third) = masks(images, own)
    other = second
    second = np.where(second == 1, np.uint8(2), second)
    for image, mask in zip(images, (first, second, third), strict=True):
        (truths / f"{image.stem}.png").write_bytes(encode_mask(mask))
    (run / "config.yaml").touch()
    about = {"path": "voc", "sha256": "0", "classes": CLASSES}
    (run / "data.json").write_text(json.dumps({**about, "trained_on": [digest_image(images[2])]}))
    done = predict_images(own, images, tmp_path, Wanted(("mask",)), truth=truths)
    assert "not scored: 1" in capsys.readouterr().err
    written = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert written == {**to_json(done.scores), "left_out_as_trained_on": 1}
    counts = metrics.confusion(first, first, 3) + metrics.confusion(second, other, 3)
    assert written["confusion"] == counts.tolist()
    assert [image["id"] for image in written["photos"]] == ["a", "b"]
    assert written["photos"][0]["miou"] == 1.0 > written["miou"]

    (run / "config.yaml").unlink()  # what lies beside the network is not of a run
    all_three = predict_images(own, images, tmp_path, Wanted(("mask",)), truth=truths)
    assert all_three.scores and all_three.scores.images == 3
    assert "model.onnx" in capsys.readouterr().err


def test_where_nothing_is_scored_no_scores_of_another_time_are_left(
    images: list[Path], predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, truths = tmp_path / "scores.json", tmp_path / "truths"
    truths.mkdir()
    scores.touch()
    annotate(images[0], "chip")
    assert predict_images(predictor, images, tmp_path, Wanted(queue=True)).scores is None
    assert scores.exists(), "nobody asked for them"
    assert predict_images(predictor, images, tmp_path, truth=truths).scores is None
    assert str(truths) in capsys.readouterr().err
    assert not scores.exists()


@pytest.mark.parametrize("kind", ["a.png", "turned.jpg", "grey.jpg"])
def test_an_image_is_known_by_what_a_data_set_holds_of_it(kind: str, tmp_path: Path) -> None:
    for split, name in (("train", kind), ("val", "b.jpg")):
        photo = write_image(tmp_path / "photos" / split / name)
        write_mask(tmp_path / "photos" / f"{split}_mask" / f"{photo.stem}.png", [0, 1])
    photo = tmp_path / "photos/train" / kind
    with Image.open(io.BytesIO(photo.read_bytes())) as image:
        if kind == "grey.jpg":
            image.convert("L").save(photo)
        elif kind == "turned.jpg":
            exif = Image.Exif()
            exif[0x0112] = 3  # stands on its head
            image.save(photo, exif=exif)
    dataset = build(BuildConfig(tmp_path / "photos", tmp_path / "voc", records=False))
    assert dataset.splits["train"] == (photo.stem,)
    assert trained_on(TrainConfig(), dataset) == [digest_image(photo)]


@pytest.mark.slow
def test_masks_of_a_data_set_of_other_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / f"photos/{split}/{split}.jpg")
        write_mask(tmp_path / f"photos/{split}_mask/{split}.png", [0, 1])
    tree = build(BuildConfig(tmp_path / "photos", tmp_path / "voc")).path
    check_truth(tree / "SegmentationClass", ("background", "object"))
    with pytest.raises(UserError, match="background, object"):
        check_truth(tree / "SegmentationClass", CLASSES)
    check_truth(tmp_path / "photos/val_mask", CLASSES)


@pytest.mark.parametrize(
    ("mask", "part"),
    [
        (np.zeros((60, 81), np.uint8), "81 x 60"),
        (np.full(SIZE, 7, np.uint8), r"\[7\]"),
    ],
)
def test_an_annotation_that_does_not_fit_is_named_and_the_image_is_done_without_it(
    mask: NDArray[np.uint8],
    part: str,
    images: list[Path],
    predictor: Predictor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "truths").mkdir()
    (tmp_path / "truths/a.png").write_bytes(encode_mask(mask))
    done = predict_images(
        predictor, images, tmp_path, Wanted(queue=True), truth=tmp_path / "truths"
    )
    assert (done.done, done.unusable) == (3, 1)
    assert re.search(part, capsys.readouterr().err)
    assert [row[0] for row in queue_of(tmp_path)[1:]] == ["annotate"] * 3


def test_the_page_has_all_images_in_order_with_truths_where_they_are_known(
    images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    annotate(images[1], "chip")
    predict_images(predictor, images, tmp_path, Wanted(("mask",), gallery=True))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(re.search(r"(\{\"classes\".*\})", page)[1])  # type: ignore[index]
    assert [row[0] for row in values["images"]] == ["a", "b", "ж"]
    assert [row[4] is not None for row in values["images"]] == [False, True, False]
    assert len(list((tmp_path / "images/thumbnails").iterdir())) == 3


def test_a_result_that_cannot_be_written_is_named_and_the_others_are_done(
    images: list[Path],
    predictor: Predictor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = images[0].with_name("x" * 251 + ".png")  # with .json it is longer than a name may be
    images[0].rename(long)
    images[0] = long
    done = predict_images(predictor, images, tmp_path, Wanted(("labelme",)))
    assert done.left_out == (long,)
    assert "xx.json" in capsys.readouterr().err
    assert len(list((tmp_path / "labelme").glob("*.json"))) == 2


def test_a_full_disk_stops_all_and_keeps_what_was_written(
    images: list[Path], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = folder._write

    def full(path: Path, encoded: bytes) -> None:
        if path.stem != "a":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, encoded)

    monkeypatch.setattr(folder, "_write", full)
    with pytest.raises(UserError, match=r"masks/.*png: cannot be written: No space left on device"):
        predict_images(predictor, images, tmp_path / "out", Wanted(("mask",)))
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["a.png"]


def test_a_full_disk_leaves_the_lists_of_another_time_as_they_were(
    images: list[Path], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(("mask", "coco", "rle"))
    predict_images(predictor, images, tmp_path, wanted)
    before = {name: (tmp_path / name).read_bytes() for name in ("coco.json", "rle.csv")}
    monkeypatch.setattr(folder, "_write", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        predict_images(predictor, images, tmp_path, wanted)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not list(tmp_path.glob(".*"))


def full_disk(path: Path, encoded: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "AT_ONCE", 1)  # threads meet in their peaks by chance
    info = dataclasses.replace(INFO, classes=CLASSES, shape=(16, 16))
    resizing = open_predictor([write_channels_model(tmp_path / "model.onnx", info=info)])
    pixels = np.full((500, 600, 3), (200, 20, 10), np.uint8)
    pixels[100:300, 100:300] = (30, 220, 0)
    paths = [tmp_path / f"photos/{number}.png" for number in range(40)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(pixels).save(path)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            wanted = Wanted(("mask", "coco", "rle"))
            predict_images(resizing, paths[:count], tmp_path / "out", wanted)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(4)  # imports
    few, many = peak(10), peak(40)
    assert many - few < 5 * 500 * 600, "masks of thirty images more"


def test_a_large_image_gets_pictures_of_fewer_pixels_and_a_mask_of_its_own(
    images: list[Path], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIXELS", 1200)
    monkeypatch.setattr(folder, "LARGE", 1200)
    wanted = Wanted(("mask", "overlay", "cutout"), gallery=True)
    predict_images(predictor, images, tmp_path, wanted)
    sizes = []
    for name in ("masks/a.png", "overlays/a.jpg", "cutouts/a.png", "images/photos/a.jpg"):
        with Image.open(tmp_path / name) as picture:
            sizes.append(picture.size)
    assert sizes == [(80, 60), (40, 30), (40, 30), (40, 30)]


@pytest.mark.parametrize(
    "check",
    [
        lambda mask: draw_overlay(
            np.broadcast_to(np.uint8(0), (*mask.shape, 3)), mask, CLASSES, COLOURS
        ),
        lambda mask: labelme_annotation(mask, CLASSES, "a.png"),
        lambda mask: coco_annotations(mask, CLASSES),
    ],
    ids=["overlay", "labelme", "coco"],
)
def test_class_ids_are_checked_in_less_memory_than_they_take_themselves(
    check: Callable[[NDArray[np.uint8]], object],
) -> None:
    mask = np.full((2000, 3000), 7, np.uint8)  # no class has this id
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"ids \[7\]"):
            check(mask)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mask.size


def test_faults_of_a_large_image_are_counted_in_the_masks_that_are_shown(
    images: list[Path], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIXELS", 1200)
    (tmp_path / "truths").mkdir()
    (tmp_path / "truths/a.png").write_bytes(encode_mask(np.zeros(SIZE, np.uint8)))
    done = predict_images(
        predictor, images[:1], tmp_path, Wanted(("mask",), queue=True), truth=tmp_path / "truths"
    )
    assert done.queue[0].faults is not None
    wrong = done.queue[0].faults.wrong * 30 * 40
    assert wrong == pytest.approx(round(wrong)), "pixels of 40 x 30"


def test_uncertainty_is_the_doubt_of_the_least_sure_pixels(predictor: Predictor) -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = 255
    assert ask(predictor, image).uncertainty == pytest.approx(0, abs=1e-5)
    image[:12, :20] = (0, 153, 102)  # 240 of 4,800 pixels: the least sure twentieth
    assert ask(predictor, image).uncertainty == pytest.approx(0.4, abs=0.01)
    image[:12, :10] = (0, 255, 0)  # half of them are sure
    assert ask(predictor, image).uncertainty == pytest.approx(0.2, abs=0.01)
    image[:] = (204, 51, 0)
    assert ask(predictor, image).uncertainty == pytest.approx(0.2, abs=0.01)
