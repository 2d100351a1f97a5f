from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from scripts.make_fishki import draw_image, plan_image
from segtf.exporting.report import PrecisionReport, ValScores, write_export
from segtf.inference.postprocess import Postprocess
from segtf.outputs.page import prose
from segtf.report import main
from segtf.reports.figures import draw_confusion, draw_curves
from segtf.reports.object_figures import draw_objects, draw_thresholds
from segtf.reports.report import write_report
from segtf.run.config import TrainConfig
from segtf.scoring.operating import Target, given, point_scores
from segtf.scoring.split_scores import SplitScores
from segtf.scoring.thresholds import count_thresholds
from segtf.training.sizing import Machine, choose, write_sizing
from segtf.training.survey import Objects, Survey
from tests.segtf.reports.run_folders import add_waits, write_log
from tests.segtf.scoring.inspected_images import IMAGES as MASKS
from tests.segtf.scoring.inspected_images import inspection
from tests.segtf.split_scores import change_scores, image_scores, split_scores, write_scores
from tests.segtf.tiny_export import REPORT
from voc_builder.base.colours import voc_colours
from voc_builder.base.errors import UserError
from voc_builder.pixels.overlay import draw_overlay

CLASSES = ["__background__", "fishka", "defect <b>"]
IMAGES = {"00000001": 0.95, "Фото #3 100%": 0.41, "sub/00000004": None, "00000005": 0.7}


def shown(name: str, missed: int, false: int, wrong: float) -> dict[str, Any]:
    """The entry of an image in overlays/scores.json."""
    objects = {"true": 3, "found": 3 - missed, "alarms": 4, "false": false}
    iou = {CLASSES[0]: 0.9871, CLASSES[1]: 0.33, CLASSES[2]: None}
    return {"id": name, "miou": 0.33, "iou": iou, "wrong": wrong, "objects": {"fishka": objects}}


SHOWN = [
    shown("00000001", 0, 0, 0.0),
    shown("Фото #3 100%", 0, 0, 0.0031),
    shown("00000005", 2, 1, 0.0004),
]


def scores(split: str) -> SplitScores:
    """The scores of objects are of other images than the rest."""
    truth, prediction = MASKS[1]
    counts = count_thresholds((prediction == 2).astype(np.float32), truth, 2)
    return split_scores(
        dict(zip(CLASSES, (0.9958, 0.9639, None if split == "val" else 0.7969), strict=True)),
        0.9188,
        dice_mean=0.9554,
        pixel_accuracy=0.9897,
        confusion=((1_200_000, 3_000, 0), (2_000, 480_000, 9_000), (0, 4_000, 51_000)),
        rows=tuple(
            image_scores(name, miou, iou=dict.fromkeys(CLASSES, miou))
            for name, miou in IMAGES.items()
        ),
        operating_point=point_scores(CLASSES[2], given(Target(2, 0.25)), counts, images=3),
        **inspection(CLASSES),
    )


def write_overlay(path: Path, index: int, size: int) -> None:
    plan = plan_image(index, "partial", seed=5)
    mask = np.zeros((size, size), np.uint8)
    for class_id, (_, points) in enumerate(plan.shapes[:2], start=1):
        cv2.fillPoly(mask, [np.rint(points * size).astype(int)], class_id)
    image = draw_image(index, plan, size, seed=5)
    overlay = draw_overlay(image, mask, CLASSES, voc_colours(3), truth=np.roll(mask, 5))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), overlay[..., ::-1])


def write_size(run: Path, config: TrainConfig) -> None:
    """The sizing.json of images with one class that is kept at 256 and one that is not."""
    objects = (Objects("fishka", 60, 4, 300.0, 0.3), Objects(CLASSES[2], 27, 0, 12.0, 0.012))
    sides = (900, 1000, 1200)
    survey = Survey({"train": 32, "val": 4}, 36, sides, sides, objects, "__background__", None)
    here = Machine(cpus=2, free_bytes=16 * 2**30)
    write_sizing(run, choose(survey, here, config), batch=8)


FLOAT32 = PrecisionReport("model.onnx", 25_300_000, ms=20.0, provider="CPUExecutionProvider")
EXPORT = replace(
    REPORT,
    images=4,
    onnx_bytes=FLOAT32.bytes,
    val=ValScores(0.9, dict.fromkeys(CLASSES, 0.9)),
    postprocess=Postprocess((), 0.9, 0.9),
    precisions={"float32": FLOAT32},
)


def write_run(run: Path, size: int = 128) -> Path:
    """A run folder as a finished training leaves it, but for the networks themselves."""
    run.mkdir(parents=True)
    settings = "data: fishki_labelme\nsize: 256\narch: unet\nencoder: mobilenetv2\nepochs: 40\n"
    settings += "loss: ce + dice\nclass_weights: balanced\naugment: medium\nfold: 2\nfolds: 5\n"
    (run / "config.yaml").write_text(f"{settings}seed: 42\nclasses: null\n")
    (run / "augment.yaml").write_text("__version__: 2.0.8\n")
    write_size(run, TrainConfig(size=256, encoder="mobilenetv2"))
    pixels = {"__background__": 1_205_000, "fishka": 487_000, "defect <b>": 55_000, "void": 0}
    about = {
        "path": "artifacts/datasets/fishki",
        "sha256": "0a1b" * 16,
        "classes": CLASSES,
        "images": {"train": 32, "val": 4, "test": 4},
        "pixels": dict.fromkeys(("train", "val", "test"), pixels),
    }
    write_export(EXPORT, run)
    environment = {
        "command": "python -m segtf.train --size 256",
        "gpus": [],
        "seconds": 640.5,
        "backend": "tensorflow",
    }
    for name, values in {"data": about, "environment": environment}.items():
        (run / f"{name}.json").write_text(json.dumps(values))
    curve = [1 - 0.9 * 0.9**epoch for epoch in range(40)]
    draw_curves(write_log(run / "log.csv", CLASSES, curve), run / "curves.png")
    for split in ("val", "test"):
        found = scores(split)
        write_scores(run, split, found)
        assert found.objects and found.operating_point
        draw_confusion(np.array(found.confusion), CLASSES, run / f"confusion_{split}.png")
        draw_objects(found.objects, run / f"objects_{split}.png")
        draw_thresholds(found.operating_point, split, run / f"thresholds_{split}.png")
    (run / "overlays").mkdir()
    (run / "overlays/scores.json").write_text(json.dumps({"split": "test", "photos": SHOWN}))
    for index, name in enumerate(IMAGES):
        write_overlay(run / "overlays" / f"{name}.jpg", index, size)
    for epoch in (1, 20, 40):
        write_overlay(run / f"overlays/progress/epoch-{epoch:04d}.jpg", epoch, size)
    (run / "model.onnx").write_bytes(b"a network")
    return run


class Links(HTMLParser):
    """Collects what a page refers to, and that its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.opened: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "first & best")
    write_report(run)
    return run


def test_the_page_needs_no_network_and_no_script_and_all_its_links_lead_somewhere(
    finished: Path,
) -> None:
    page = Links((finished / "report.html").read_text(encoding="utf-8"))
    assert not page.opened
    assert not page.tags & {"script", "link", "iframe"}
    assert len(page.targets) > 20
    for target in page.targets:
        assert ":" not in target
        assert target.startswith("#") or (finished / unquote(target)).is_file()


def test_the_page_says_the_scores_the_best_epoch_and_what_agreed(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "mean IoU, test<b>0.9188</b>" in page
    assert "40 of 40 epochs (11 min with start and data)" in page
    assert "best validation mean IoU <b>0.9852</b> in epoch <b>40</b>" in page
    assert '<span class="good">Keras, SavedModel and ONNX agree.</span>' in page
    assert "<td>32</td><td>4</td><td>4</td>" in page
    assert '<p class="missing">' not in page


def test_the_page_says_why_the_size_and_what_the_smallest_objects_become(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<td>trained on</td><td>256 x 256</td>" in page
    assert '<span class="flag">--crop</span> 512' in page
    assert "<td>width, pixels</td><td>900</td><td>1,000</td><td>1,200</td>" in page
    assert '<td>27</td><td>12.0</td><td><span class="bad">3.1</span></td>' in page
    assert "<td>60</td><td>300.0</td><td><b>76.8</b></td>" in page
    assert "Not counted: 4 specks" in page


def test_the_page_has_the_main_settings_of_a_training(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    before = page[: page.index("<summary>All settings</summary>")]
    for name, value in (
        ("loss", "ce + dice"),
        ("class weights", "balanced"),
        ("augment", "medium"),
        ("fold", "2 of 5"),
        ("backend", "tensorflow"),
        ("processes", "1"),
    ):
        assert f"<tr><td>{name}</td><td>{value}</td></tr>" in before
    assert 'href="augment.yaml"' in before


@pytest.mark.parametrize(
    ("share", "gpus", "says", "cure"),
    [
        (
            0.03,
            [],
            "<b>Training is compute-bound</b>: 3&nbsp;% of",
            "To make it faster: a GPU, a",
        ),
        (0.03, ["GPU:0"], "<b>Training is compute-bound</b>", "faster: a faster GPU"),
        (0.2, [], "<b>Training is mostly compute-bound</b>", "20&nbsp;% at most"),
        (0.6, [], "<b>Training is input-bound</b>: 60&nbsp;% of", "--cache</span> memory"),
    ],
)
def test_the_page_says_whether_input_or_computation_limits_training(
    share: float, gpus: list[str], says: str, cure: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    (run / "environment.json").write_text(json.dumps({"gpus": gpus}))
    add_waits(run / "log.csv", [0.99, share])
    page = write_report(run).read_text(encoding="utf-8")
    assert says in page
    assert cure in page
    assert "below 10&nbsp;% input costs next to nothing, from 30&nbsp;% on it is" in page


def test_a_log_of_an_older_run_says_nothing_about_waiting(finished: Path) -> None:
    assert "-bound</b>" not in (finished / "report.html").read_text(encoding="utf-8")


def test_crops_and_tiles_are_called_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{config}crop: 256\n")
    write_size(run, TrainConfig(crop=256))
    page = write_report(run).read_text(encoding="utf-8")
    assert "crop 256" in page
    assert "4 test images in tiles of 256 x 256 pixels" in page
    assert "Trained on crops of images at their full resolution, 256 x 256 pixels" in page
    assert "<th>px in crops</th>" in page


def test_flags_and_numbers_with_units_are_not_broken() -> None:
    assert prose("5 % in 3 s, 4 sizes") == "5&nbsp;% in 3&nbsp;s, 4 sizes"
    assert prose("a--b <--size 4") == 'a--b &lt;<span class="flag">--size</span> 4'


def test_names_are_escaped(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<h1>first &amp; best</h1>" in page
    assert "defect &lt;b&gt;" in page
    assert "defect <b>" not in page


def test_what_a_data_set_says_of_itself_is_escaped(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    about = json.loads((run / "data.json").read_text(encoding="utf-8"))
    about |= {"sha256": "<script>alert(1)</script>", "path": "a<b>c"}
    (run / "data.json").write_text(json.dumps(about), encoding="utf-8")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "a<b>c" not in page


def test_images_come_worst_first_with_light_thumbnails_and_a_link_to_the_full_one(
    finished: Path,
) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption><b>([^<]*)</b>(?: (.*?)<br>)?", page)
    assert captions == [
        ("00000005", "2 missed, 1 false alarm, 0.04&nbsp;% wrong"),
        ("Фото #3 100%", "0.31&nbsp;% wrong"),
        ("00000001", "no fault"),
        ("sub/00000004", ""),
    ]
    assert "4 images, worst first." in page
    assert "IoU __background__ 0.987, fishka 0.330</span>" in page
    assert 'href="overlays/%D0%A4%D0%BE%D1%82%D0%BE%20%233%20100%25.jpg"' in page
    assert (finished / "thumbnails/sub/00000004.jpg").stat().st_size < 30_000


@pytest.mark.parametrize("rows", [None, [shown("00000005", 0, 0, 0.0)]])
def test_images_of_an_earlier_run_or_without_a_fault_come_by_name_and_none_is_called_worst(
    rows: list[dict[str, Any]] | None, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    file = run / "overlays/scores.json"
    file.unlink() if rows is None else file.write_text(json.dumps({"photos": rows}))
    page = write_report(run).read_text(encoding="utf-8")
    images = page.split('id="images"')[1].split("</section>")[0]
    found = re.findall(r"<figcaption><b>([^<]*)</b>", images)
    assert found == ["00000001", "sub/00000004", "00000005", "Фото #3 100%"]
    assert "4 images, by name." in images
    assert ("IoU" in images) == (rows is not None)


def test_the_page_has_objects_found_and_missed_of_test_and_val(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    for split in ("test", "val"):
        _, section = page.split(f'<section id="objects-{split}">')
        section = section.split("</section>")[0]
        assert "<th>missed</th>" in section
        assert "<h3>Operating point</h3>" in section
        assert f'src="objects_{split}.png"' in section
        assert f'src="thresholds_{split}.png"' in section
    assert page.index('id="objects-test"') < page.index('id="objects-val"')


def test_a_run_that_was_scored_without_objects_keeps_its_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "older")
    for split in ("val", "test"):
        change_scores(run, split, objects=None, intervals=None, operating_point=None)
        (run / f"objects_{split}.png").unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count("There are no counts of objects") == 1
    assert page.count('<p class="missing">') == 1


def test_a_failed_export_is_said_in_the_result_and_in_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    failed = replace(EXPORT.comparisons[0], passed=False)
    write_export(replace(EXPORT, comparisons=(failed,)), run)
    page = write_report(run).read_text(encoding="utf-8")
    assert "ONNX DO NOT agree" in page
    assert '<span class="bad">FAILED</span>' in page


def test_the_page_shows_the_cost_of_each_precision_and_the_post_processing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    half = PrecisionReport(
        file="model_float16.onnx",
        bytes=12_700_000,
        miou_change=-0.0021,
        iou_change=dict.fromkeys(CLASSES, -0.003),
        ms=25.0,
        provider="CPUExecutionProvider",
    )
    precisions = {**EXPORT.precisions, "float16": half}
    write_export(replace(EXPORT, precisions=precisions), run)
    page = write_report(run).read_text(encoding="utf-8")
    for shown in ("model_float16.onnx", "12.7", "x 0.80", "-0.0021", "-0.0030", "–"):
        assert f"<td>{shown}</td>" in page
    assert "Post-processing rules: none, as none helped on val." in page
    assert not Links(page).opened


def test_the_page_of_a_run_that_just_began_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("size: 256\nepochs: 40\n")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for name in ("data.json", "log.csv", "curves.png", "metrics_val.json", "metrics_test.json"):
        assert f"There is no {name}" in page
    for name in (
        "confusion_val.png",
        "export.json",
        "model.onnx",
        "environment.json",
        "sizing.json",
    ):
        assert f"There is no {name}" in page
    assert page.count('<p class="missing">') >= 12
    assert not Links(page).opened


def test_without_test_images_the_validation_scores_head_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "metrics_test.json").unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert "There are no test scores" in page
    assert "mean IoU, val<b>0.9188</b>" in page


def test_a_folder_that_is_no_run_and_a_damaged_file_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    (tmp_path / "config.yaml").write_text("size: 256\n")
    (tmp_path / "export.json").write_text('{"images": ')
    assert main([str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "not a run folder (no config.yaml)" in first
    assert "export.json: damaged" in second
    assert not (tmp_path / "report.html").exists()


def test_write_report_refuses_a_damaged_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("size: [256\n")
    with pytest.raises(UserError, match=r"config.yaml: damaged"):
        write_report(tmp_path)
