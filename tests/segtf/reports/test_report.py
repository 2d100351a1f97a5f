"""The report of a run as a page, from run folders without networks."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from segtf.exporting.report import PrecisionReport, ValScores, write_export
from segtf.inference.postprocess import Postprocess
from segtf.outputs.page import prose
from segtf.report import main
from segtf.reports.report import sections, write_report
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


def write_run(run: Path) -> None:
    """A run folder as a finished training leaves it, with empty files for charts and network."""
    run.mkdir(parents=True)
    settings = "data: fishki_labelme\nsize: 256\narch: unet\nencoder: mobilenetv2\nepochs: 40\n"
    settings += "loss: ce + dice\nclass_weights: balanced\naugment: medium\nfold: 2\nfolds: 5\n"
    (run / "config.yaml").write_text(f"{settings}seed: 42\nclasses: null\n")
    write_size(run, TrainConfig(size=256, encoder="mobilenetv2"))
    pixels = {"__background__": 1_205_000, "fishka": 487_000, "defect <b>": 55_000, "void": 0}
    about = {
        "path": "artifacts/datasets/fishki",
        "sha256": "0a1b" * 16,
        "classes": CLASSES,
        "images": {"train": 32, "val": 4, "test": 4},
        "pixels": dict.fromkeys(("train", "val", "test"), pixels),
    }
    (run / "data.json").write_text(json.dumps(about))
    command = "python -m segtf.train --size 256"
    environment = {"command": command, "gpus": [], "seconds": 640.5, "backend": "tensorflow"}
    (run / "environment.json").write_text(json.dumps(environment))
    write_log(run / "log.csv", CLASSES, [1 - 0.9 * 0.9**epoch for epoch in range(40)])
    write_export(EXPORT, run)
    files = ["augment.yaml", "model.onnx", "curves.png"]
    for split in ("val", "test"):
        write_scores(run, split, scores(split))
        files += [f"{kind}_{split}.png" for kind in ("confusion", "objects", "thresholds")]
    for name in files:
        (run / name).write_bytes(b"")
    overlays = [*IMAGES, *(f"progress/epoch-{epoch:04d}" for epoch in (1, 20, 40))]
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    for path in (run / "overlays" / f"{name}.jpg" for name in overlays):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), noise)
    (run / "overlays/scores.json").write_text(json.dumps({"split": "test", "photos": SHOWN}))


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
    """A run folder with its report."""
    run = tmp_path_factory.mktemp("runs") / "first & best"
    write_run(run)
    write_report(run)
    return run


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return (finished / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run folder that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


def html(run: Path, name: str) -> str:
    """A section of a run's report by its id."""
    return {section.id: section.html for section in sections(run)}[name]


def test_the_page_needs_no_network_and_no_script_and_its_links_lead_somewhere(
    finished: Path, page: str
) -> None:
    links = Links(page)
    assert not links.opened
    assert not links.tags & {"script", "link", "iframe"}
    assert len(links.targets) > 20
    for target in links.targets:
        assert ":" not in target
        assert target.startswith("#") or (finished / unquote(target)).is_file()
    assert '<p class="missing">' not in page


def test_sections_stand_alone(finished: Path, page: str) -> None:
    for section in sections(finished):
        assert not Links(section.html).opened
        assert f'<section id="{section.id}">' in page
        assert f'href="#{section.id}"' in page


def test_the_page_has_scores_best_epoch_parity_and_sizes_of_splits(page: str) -> None:
    assert "mean IoU, test<b>0.9188</b>" in page
    assert "40 of 40 epochs (11 min" in page
    assert "<b>0.9852</b> in epoch <b>40</b>" in page
    assert '<span class="good">Keras' in page
    assert "<td>32</td><td>4</td><td>4</td>" in page


def test_the_size_comes_with_the_objects_that_decided_it(finished: Path) -> None:
    size = html(finished, "size")
    assert "<td>trained on</td><td>256 x 256</td>" in size
    assert '<span class="flag">--crop</span> 512' in size
    assert "<td>width, pixels</td><td>900</td><td>1,000</td><td>1,200</td>" in size
    assert '<td>27</td><td>12.0</td><td><span class="bad">3.1</span></td>' in size
    assert "<td>60</td><td>300.0</td><td><b>76.8</b></td>" in size
    assert "4 specks" in size


def test_the_main_settings_stand_before_all_settings(finished: Path) -> None:
    before = html(finished, "training").partition("<details>")[0]
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
    ("waited", "gpus", "bound", "advice"),
    [
        (0.03, [], "compute-bound</b>: 3&nbsp;%", ": a GPU, "),
        (0.03, ["GPU:0"], "compute-bound</b>: 3&nbsp;%", ": a faster GPU, "),
        (0.2, [], "mostly compute-bound</b>: 20&nbsp;%", "20&nbsp;% at most"),
        (0.6, [], "input-bound</b>: 60&nbsp;%", "--cache</span> memory"),
        (None, [], "", ""),
    ],
)
def test_the_report_says_whether_input_or_computation_limits_training(
    waited: float | None, gpus: list[str], bound: str, advice: str, run: Path
) -> None:
    (run / "environment.json").write_text(json.dumps({"gpus": gpus}))
    if waited is not None:
        add_waits(run / "log.csv", [0.99, waited])
    training = html(run, "training")
    assert bound in training and advice in training
    assert ("-bound</b>" in training) == (waited is not None)


def test_crops_and_tiles_are_named(run: Path) -> None:
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{config}crop: 256\n")
    write_size(run, TrainConfig(crop=256))
    page = write_report(run).read_text(encoding="utf-8")
    assert "crop 256" in page
    assert "in tiles of 256 x 256 pixels" in page
    assert "Trained on crops" in page
    assert "<th>px in crops</th>" in page


def test_flags_and_numbers_with_units_are_not_broken() -> None:
    assert prose("5 % in 3 s, 4 sizes") == "5&nbsp;% in 3&nbsp;s, 4 sizes"
    assert prose("a--b <--size 4") == 'a--b &lt;<span class="flag">--size</span> 4'


def test_names_and_values_of_the_data_set_are_escaped(run: Path, page: str) -> None:
    assert "<h1>first &amp; best</h1>" in page
    assert "defect &lt;b&gt;" in page
    assert "defect <b>" not in page
    about = json.loads((run / "data.json").read_text(encoding="utf-8"))
    about |= {"sha256": "<script>alert(1)</script>", "path": "a<b>c"}
    (run / "data.json").write_text(json.dumps(about), encoding="utf-8")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "a<b>c" not in page


def test_images_come_worst_first_with_light_thumbnails_that_link_to_the_full_size(
    finished: Path,
) -> None:
    images = html(finished, "images")
    captions = re.findall(r"<figcaption><b>([^<]*)</b>(?: (.*?)<br>)?", images)
    assert captions == [
        ("00000005", "2 missed, 1 false alarm, 0.04&nbsp;% wrong"),
        ("Фото #3 100%", "0.31&nbsp;% wrong"),
        ("00000001", "no fault"),
        ("sub/00000004", ""),
    ]
    assert "worst first" in images
    assert "IoU __background__ 0.987, fishka 0.330</span>" in images
    assert 'href="overlays/%D0%A4%D0%BE%D1%82%D0%BE%20%233%20100%25.jpg"' in images
    thumbnail = cv2.imread(str(finished / "thumbnails/sub/00000004.jpg"))
    assert thumbnail is not None and thumbnail.shape == (360, 480, 3)


@pytest.mark.parametrize("rows", [None, [shown("00000005", 0, 0, 0.0)]])
def test_images_without_scores_or_without_a_fault_come_by_name(
    rows: list[dict[str, Any]] | None, run: Path
) -> None:
    file = run / "overlays/scores.json"
    file.unlink() if rows is None else file.write_text(json.dumps({"photos": rows}))
    images = html(run, "images")
    found = re.findall(r"<figcaption><b>([^<]*)</b>", images)
    assert found == ["00000001", "sub/00000004", "00000005", "Фото #3 100%"]
    assert "by name" in images
    assert ("IoU" in images) == (rows is not None)


def test_objects_of_test_come_before_those_of_val(finished: Path) -> None:
    found = {section.id: section.html for section in sections(finished)}
    assert [name for name in found if name.startswith("objects")] == ["objects-test", "objects-val"]
    for split in ("test", "val"):
        assert "<h3>Operating point</h3>" in found[f"objects-{split}"]
        assert f'src="objects_{split}.png"' in found[f"objects-{split}"]
        assert f'src="thresholds_{split}.png"' in found[f"objects-{split}"]


def test_a_run_that_was_scored_without_objects_keeps_its_page(run: Path) -> None:
    for split in ("val", "test"):
        change_scores(run, split, objects=None, intervals=None, operating_point=None)
    assert write_report(run).read_text(encoding="utf-8").count('<p class="missing">') == 1


def test_a_failed_export_is_marked_in_the_result_and_in_the_table(run: Path) -> None:
    failed = replace(EXPORT.comparisons[0], passed=False)
    write_export(replace(EXPORT, comparisons=(failed,)), run)
    assert '<span class="bad">Keras' in html(run, "result")
    assert '<span class="bad">FAILED</span>' in html(run, "export")


def test_the_export_has_the_cost_of_each_precision(run: Path) -> None:
    half = PrecisionReport(
        file="model_float16.onnx",
        bytes=12_700_000,
        miou_change=-0.0021,
        iou_change=dict.fromkeys(CLASSES, -0.003),
        ms=25.0,
        provider="CPUExecutionProvider",
    )
    write_export(replace(EXPORT, precisions={**EXPORT.precisions, "float16": half}), run)
    export = html(run, "export")
    for shown in ("model_float16.onnx", "12.7", "x 0.80", "-0.0021", "-0.0030", "–"):
        assert f"<td>{shown}</td>" in export


def test_the_page_of_a_run_that_just_started_names_missing_files(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("size: 256\nepochs: 40\n")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    notes = " ".join(re.findall(r'<p class="missing">(.*?)</p>', page))
    for name in ("data", "metrics_val", "metrics_test", "export", "environment", "sizing"):
        assert f"{name}.json" in notes
    for name in ("log.csv", "curves.png", "confusion_val.png", "model.onnx"):
        assert name in notes
    assert not Links(page).opened


def test_without_test_images_the_result_has_the_validation_scores(run: Path) -> None:
    (run / "metrics_test.json").unlink()
    result = html(run, "result")
    assert result.count('<p class="missing">') == 1
    assert "mean IoU, val<b>0.9188</b>" in result


def test_a_folder_that_is_no_run_and_a_damaged_file_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    (tmp_path / "config.yaml").write_text("size: 256\n")
    (tmp_path / "export.json").write_text('{"images": ')
    assert main([str(tmp_path)]) == 2
    (tmp_path / "config.yaml").write_text("size: [256\n")
    assert main([str(tmp_path)]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "no config.yaml" in first
    assert "export.json: damaged" in second
    assert "config.yaml: damaged" in third
    assert not (tmp_path / "report.html").exists()
