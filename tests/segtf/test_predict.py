"""Images in, masks and overlays out, whatever lies between them in the folder."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segtf.inference.predictor import open_predictor
from segtf.outputs import folder
from segtf.outputs.files import Wanted
from segtf.outputs.folder import draw_image, predict_images
from segtf.predict import PredictConfig, main, predict
from tests.segtf.tiny_onnx import write_channels_model
from voc_builder.base.colours import voc_colours

HEAVY = ("tensorflow", "keras", "albumentations", "matplotlib", "onnx", "tf2onnx")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_channels_model(tmp_path / "model.onnx")


def test_results_may_go_beside_the_images_and_are_not_predicted_again(
    model: Path, tmp_path: Path
) -> None:
    images = tmp_path / "photos"
    write_image(images / "a.png")
    for _ in range(2):
        assert predict(PredictConfig(model, (images,), out=images)) == 0
    written = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.*"))
    assert written == ["a.png", "masks/a.png", "overlays/a.jpg"]


def test_an_image_too_long_for_an_overlay_is_named_and_the_others_are_done(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "photos/long.png", height=2, width=65_600)
    write_image(tmp_path / "photos/a.png")
    assert predict(PredictConfig(model, (tmp_path / "photos",), out=tmp_path / "out")) == 1
    assert "long.png" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out/overlays").iterdir()] == ["a.jpg"]


def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """An image with its left half of class 1 and its right half of class 2."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 1] = 255
    image[:, width // 2 :, 2] = 255
    return image


def write_image(path: Path, height: int = 6, width: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stripes(height, width)).save(path)
    return path


def call(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf-predict", *map(str, argv)])
    return main()


def files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_mask_and_overlay_have_the_size_of_the_image(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "фото" / "деталь 1.png", 60, 160)
    out = tmp_path / "ответ"
    assert call(monkeypatch, model, tmp_path / "фото", "--out", out) == 0
    assert files(out) == ["masks/деталь 1.png", "overlays/деталь 1.jpg"]
    with Image.open(out / "masks" / "деталь 1.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), [[1] * 80 + [2] * 80] * 60)
        np.testing.assert_array_equal(mask.getpalette()[:9], voc_colours(3).ravel())
    with Image.open(out / "overlays" / "деталь 1.jpg") as overlay:
        assert overlay.size == (160, 60)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    for part in (
        "1 image, ",
        "a second",
        "green 50 %",
        "синий 50 %",
        f"{out}: masks/, overlays/: ",
    ):
        assert part in printed


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (1, 40)])
def test_images_of_a_few_pixels_are_predicted(model: Path, height: int, width: int) -> None:
    mask, overlay = draw_image(open_predictor([model]), np.zeros((height, width, 3), np.uint8))
    assert mask.shape == (height, width)
    assert overlay.shape == (height, width, 3)


def test_an_unreadable_image_is_named_and_left_out_and_the_others_are_done(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "photos"
    write_image(images / "a.png")
    (images / "b.jpg").write_text("no image")
    write_image(images / "c.bmp")
    (images / "c.json").write_text("{}")
    assert call(monkeypatch, model, images, "--out", tmp_path / "out", "--save", "mask") == 1
    assert files(tmp_path / "out") == ["masks/a.png", "masks/c.png"]
    printed = capsys.readouterr()
    assert "2 images, " in printed.out
    about_it = [line for line in printed.err.splitlines() if "b.jpg" in line]
    assert about_it[0].startswith(f"{images / 'b.jpg'}: not an image")
    assert about_it[1:] == [f"left out 1 of 3: {images / 'b.jpg'}"]


def test_results_are_replaced_and_other_files_stay(tmp_path: Path, model: Path) -> None:
    image = write_image(tmp_path / "a.png")
    (tmp_path / "out" / "masks").mkdir(parents=True)
    (tmp_path / "out" / "masks" / "a.png").write_text("old")
    (tmp_path / "out" / "masks" / "z.png").write_text("old")
    predict_images(open_predictor([model]), [image], tmp_path / "out", Wanted(("mask",)))
    assert files(tmp_path / "out") == ["masks/a.png", "masks/z.png"]
    assert cv2.imread(str(tmp_path / "out" / "masks" / "a.png")).shape == (6, 16, 3)


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["none.onnx", "a.png"], "none.onnx"),
        (["a.png", "a.png"], "a.png: not an ONNX file"),
        (["bare.onnx", "a.png"], "segtf.classes"),
        (["model.onnx", "none.png"], "none.png"),
        (["model.onnx", "*.gif"], "*.gif"),
        (["model.onnx", "a.png", "--save", "mask,video"], "--save"),
        (["model.onnx", "a.png", "--save", "cutout"], "--save cutout"),
        (["model.onnx", "a.png", "--save", "rle"], "--rle-class"),
        (["model.onnx", "a.png", "--rle-class", "blue"], "--rle-class blue"),
        (["model.onnx", "a.png", "--tolerance", "-1"], "--tolerance"),
        (["model.onnx", "a.png", "--provider", "cuda"], "--provider cuda"),
        (["model.onnx", "a.png", "--defect-threshold", "2"], "--defect-threshold"),
        (["model.onnx", "a.png", "--defect", "blue"], "--defect"),
        (["model.onnx", "a.png", "--truth", "none"], "--truth none"),
        (["model.onnx", "a.png", "--threads", "-1"], "--threads"),
        (["a.png", "model.onnx"], "python -m segtf.predict model.onnx a.png\n"),
        (["a.png", "model.onnx,model.onnx"], "segtf.predict model.onnx,model.onnx a.png\n"),
        (["model.onnx", "a.png", "--out", "a.png"], "a.png"),
        (["model.onnx", "a.png", "--out", "a.png/deeper"], "a.png"),
    ],
)
def test_wrong_use_gets_one_line_and_exit_code_2(
    argv: list[str],
    part: str,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "a.png")
    write_channels_model(tmp_path / "bare.onnx", info=None)
    assert call(monkeypatch, *argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("python -m segtf.predict: error: ")
    assert printed.err.count("\n") == 1
    assert part in printed.err


def test_images_in_front_of_the_network_get_the_command_that_works(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, out = tmp_path / "two images", tmp_path / "out"
    for name in ("a.png", "b.png", "c.png", "d.png"):
        write_image(images / name)
    for network in (model, tmp_path):  # tmp_path holds model.onnx, as a run folder does
        assert call(monkeypatch, images, network, "--out", out) == 2
        command = capsys.readouterr().err.strip().split("python -m segtf.predict ")[-1]
        assert shlex.split(command) == [str(network), str(images)]
        assert call(monkeypatch, *shlex.split(command), "--out", out) == 0
    assert call(monkeypatch, *sorted(images.iterdir()), model, "--out", out) == 2
    assert capsys.readouterr().err.endswith("c.png' ...\n")


def test_told_to_end_it_takes_away_what_is_half_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [write_image(tmp_path / f"{name}.png") for name in "abcdef"]
    whole, calls = folder.ask, itertools.count()

    def told_to_end(*given: Any, **more: Any) -> Any:
        if not next(calls):  # once: other threads still come here when the handler is gone
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(*given, **more)

    monkeypatch.setattr(folder, "ask", told_to_end)
    out = tmp_path / "out"
    assert call(monkeypatch, model, *images, "--out", out, "--save", "coco") == 143
    assert list(out.iterdir()) == []


def test_a_class_is_marked_from_the_probability_on_that_is_asked_for(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(np.full((6, 16, 3), (20, 150, 85), np.uint8)).save(image)  # blue: a third
    for flags, wanted in (
        ([], 1),
        (["--defect-threshold", 0.3], 2),
        (["--defect-threshold", 0.4], 1),
        (["--defect-threshold", 0.6, "--defect", "green"], 2),
    ):
        assert call(monkeypatch, model, image, "--out", out, "--save", "mask", *flags) == 0
        assert np.unique(np.array(Image.open(out / "masks" / "a.png"))).tolist() == [wanted]


def test_several_networks_and_ways_of_asking_are_named_on_the_command_line(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = write_image(tmp_path / "photos" / "a.png"), tmp_path / "out"
    other = write_channels_model(tmp_path / "other.onnx")
    asked = ["--mode", "tile", "--overlap", 0.5, "--tta", "d4", "--ensemble", "vote"]
    assert call(monkeypatch, f"{model},{other}", image, "--out", out, *asked) == 0
    found = np.array(Image.open(out / "masks" / "a.png"))
    np.testing.assert_array_equal(found, [[1] * 8 + [2] * 8] * 6)
    assert call(monkeypatch, f"{model},{tmp_path / 'gone.onnx'}", image, "--out", out) == 2
    assert "gone.onnx: no such file" in capsys.readouterr().err


def test_prediction_works_where_tensorflow_cannot_be_imported(tmp_path: Path, model: Path) -> None:
    write_image(tmp_path / "a.png")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY}))\n"  # None: importing it fails
        "from segtf.predict import main\n"
        "sys.exit(main())"
    )
    argv = [str(model), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert files(tmp_path / "out") == ["masks/a.png", "overlays/a.jpg"]
