"""What a user can fix is said before TensorFlow is imported and before anything is built."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segtf.run.config import TrainConfig
from segtf.run.folder import write_config, write_json
from tests.voc_builder.folders import chips
from voc_builder.build import BuildConfig, build

pytestmark = pytest.mark.slow

# every command line in one process, in which TensorFlow cannot be imported
COMMANDS = """
import importlib, json, sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf2onnx")))
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    print(importlib.import_module(module).main())
"""


def called(*commands: list[object]) -> tuple[list[int], list[str]]:
    """The exit codes of command lines, and what is on stderr."""
    asked = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, asked], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return [int(code) for code in done.stdout.split()], done.stderr.splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an empty file in the place of its network, and its data set, which has no
    test images.
    """
    root = tmp_path_factory.mktemp("early")
    images = chips(root / "chips")
    dataset = build(BuildConfig(images, root / "voc", records=False, split="80/20/0"))
    run = root / "runs/a"
    write_config(TrainConfig(size=32, arch="unet_plain", artifacts=root, run="a"), run)
    about = {"path": str(dataset.path), "sha256": dataset.sha256}
    write_json({**about, "classes": list(dataset.classes), "trained_on": []}, run / "data.json")
    (run / "best.keras").touch()
    return run


def test_evaluation_and_export_refuse_what_they_can_without_tensorflow(
    run: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(run, tmp_path / "bare")
    (bare / "best.keras").unlink()
    (tmp_path / "file").touch()
    evaluate = ["segtf.evaluate", run, "--split", "val"]
    wrong = {
        "gone: no such file": ["segtf.evaluate", tmp_path / "gone"],
        "bare/best.keras": ["segtf.evaluate", bare],
        "gone: no such folder": [*evaluate, "--data", tmp_path / "gone"],
        "--split test": ["segtf.evaluate", run],
        "--defect": [*evaluate, "--defect", "scratch"],
        "--out": [*evaluate, "--out", tmp_path / "file/scores"],
        "not a run folder": ["segtf.export", tmp_path / "gone"],
        "no best.keras": ["segtf.export", bare],
    }
    codes, said = called(*wrong.values())
    assert codes == [2] * len(wrong), said
    told = [line for line in said if ": error: " in line]
    assert len(told) == len(wrong)
    for part, line in zip(wrong, told, strict=True):
        assert part in line


def test_a_training_that_is_refused_has_built_nothing(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("transform: {__class_fullname__: Compose}", encoding="utf-8")
    images = run.parent.parent / "chips"
    begin = ["segtf.train", "--artifacts", tmp_path / "new/artifacts", "--data"]
    wrong = [
        [*begin, images, "--encoder-weights", tmp_path / "gone.h5"],
        [*begin, images, "--augment", tmp_path / "bad.yaml"],
        [*begin, images, "--init-from", tmp_path / "gone"],
        [*begin, images, "--classes", tmp_path / "gone.txt"],
        [*begin, images, "--split-from", tmp_path / "gone"],
        [*begin, images, "--folds", "1"],
        [*begin, tmp_path / "gone"],
    ]
    codes, said = called(*wrong)
    assert codes == [2] * len(wrong), said
    assert not (tmp_path / "new").exists()
    assert not [line for line in said if line.startswith("images: ")], "nothing was converted"


def test_a_build_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    images = chips(tmp_path / "chips")
    (images / "bad000.json").write_text("{", encoding="utf-8")
    codes, _ = called(["segtf.train", "--data", images, "--artifacts", tmp_path / "new"])
    assert codes == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]


def test_an_experiment_is_refused_before_anybody_is_asked(run: Path, tmp_path: Path) -> None:
    recipe = {"data": str(run.parent.parent / "chips"), "encoder_weights": str(tmp_path / "gone")}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    flags = ["--recipe", tmp_path / "recipe.yaml", "--name", "Ann", "--keep", "no"]
    codes, said = called(["segtf.experiment", *flags, "--artifacts", tmp_path / "new"])
    assert codes == [2]
    assert "--encoder-weights" in said[-1]
    assert not (tmp_path / "new").exists()
