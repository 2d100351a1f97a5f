"""Networks, losses and metric are the same on TensorFlow and on JAX, and so are their files.

Keras takes one backend a process, so each answers in a process of its own (`one_backend`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from segtf.run.architectures import ARCHS
from segtf.run.loss_expression import PARAMETERS
from segtf.scoring.metrics import confusion, miou
from tests.segtf.one_backend import CLASSES, COUNTED, LOADED, TRAINED, Arrays, probabilities, truth
from voc_builder.base.colours import VOID

pytestmark = pytest.mark.slow

BACKENDS = ("tensorflow", "jax")
# compiled code that runs once may be slow; compiling it well takes longer than all the rest
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
# float32 rounds to 6e-8; these networks have 50 and more layers, and normalise what is small
ROUNDING = 2e-5


@dataclass(frozen=True)
class Answers:
    """Of all three processes, by backend."""

    given: dict[str, Arrays]
    loaded: dict[str, Arrays]
    training: Arrays


def start(backend: str, what: str, *folders: Path) -> subprocess.Popen[str]:
    of_backend = {
        "KERAS_BACKEND": backend,
        "SM_FRAMEWORK": "neither",  # what segmentation-models reads follows from the backend
        "XLA_FLAGS": f"{QUICK} {TWO_DEVICES}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.segtf.one_backend", what, *map(str, folders)],
        cwd=Path(__file__).parents[2],
        env=os.environ | of_backend,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folders = {backend: tmp_path_factory.mktemp(backend) for backend in BACKENDS}
    tensorflow, jax = folders.values()
    trainer = start("jax", "training", jax)
    running = {
        "tensorflow": start("tensorflow", "answers", tensorflow, jax),
        "jax": start("jax", "answers", jax, tensorflow),
    }
    try:
        for backend, process in running.items():
            assert process.stdout is not None
            assert "answered" in process.stdout.read(len("answered")), f"{backend} failed"
        for process in (*running.values(), trainer):
            process.communicate("\n", timeout=600)
            assert process.returncode == 0
    finally:
        for process in (*running.values(), trainer):
            process.kill()
            process.wait()
    return Answers(
        {backend: dict(np.load(folders[backend] / "answers.npz")) for backend in BACKENDS},
        {backend: dict(np.load(folders[backend] / "loaded.npz")) for backend in BACKENDS},
        dict(np.load(jax / "training.npz")),
    )


@pytest.mark.parametrize("arch", ARCHS)
def test_the_same_weights_give_the_same_probabilities(answers: Answers, arch: str) -> None:
    tensorflow, jax = (answers.given[backend][f"answer {arch}"] for backend in BACKENDS)
    assert tensorflow.std() > 0.01, "an answer that is the same everywhere would prove nothing"
    np.testing.assert_allclose(jax, tensorflow, atol=ROUNDING)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
@pytest.mark.parametrize("arch", LOADED)
def test_a_checkpoint_of_one_backend_answers_the_same_on_the_other(
    answers: Answers, arch: str, suffix: str, backend: str
) -> None:
    (other,) = set(BACKENDS) - {backend}
    wanted = answers.given[other][f"answer {arch}"]
    np.testing.assert_allclose(answers.loaded[backend][f"{suffix} {arch}"], wanted, atol=ROUNDING)


def test_a_step_of_training_moves_the_weights_alike(answers: Answers) -> None:
    tensorflow, jax = (answers.given[backend][f"step {TRAINED}"] for backend in BACKENDS)
    # batch normalisation takes large numbers from each other on the way back: 1e-3 is rounding
    assert np.linalg.norm(jax - tensorflow) < 1e-2 * np.linalg.norm(tensorflow)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("term", PARAMETERS)
def test_every_term_of_a_loss_and_its_gradient_are_the_same(
    answers: Answers, term: str, weights: tuple[float, ...] | None
) -> None:
    for what in ("loss", "gradient"):
        name = f"{what} {term} {weights}"
        tensorflow, jax = (answers.given[backend][name] for backend in BACKENDS)
        assert tensorflow.any()
        np.testing.assert_allclose(jax, tensorflow, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("start", COUNTED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_pixel_is_lost_past_what_32_bits_hold(
    answers: Answers, backend: str, start: int
) -> None:
    seen = confusion(truth(16), probabilities(16).argmax(-1), CLASSES)
    assert seen.min() > 5, "each count must pass the limit"
    counts = answers.given[backend][f"counts {start}"]
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, start + 2 * seen)
    assert answers.given[backend][f"miou {start}"] == pytest.approx(miou(counts), rel=1e-5)


def test_the_default_network_trains_and_reloads_without_tensorflow(answers: Answers) -> None:
    told = answers.training
    assert np.isfinite(told["training loss"]).all()
    # each epoch counts afresh: eight images of 32 x 32, a quarter of them void
    known = (truth(32, 8) != VOID).sum()
    assert told["training counts"].sum() == known
    assert told["training miou"][-1] == pytest.approx(miou(told["training counts"]), rel=1e-5)
    np.testing.assert_allclose(told["training answer again"], told["training answer"], atol=1e-6)


def test_each_pixel_is_counted_once_over_two_devices(answers: Answers) -> None:
    told = answers.training
    assert told["shared devices"] == 2
    assert told["shared training"].sum() == (truth(16, 8) != VOID).sum()
    np.testing.assert_array_equal(told["shared validation"], told["shared validation by hand"])


def test_devices_of_jax_are_found_without_tensorflow(answers: Answers) -> None:
    import jax

    told = answers.training
    if any(device.platform != "cpu" for device in jax.devices()):
        pytest.skip("written for a machine without a GPU")
    assert told["devices"].tolist() == ["()", "float32", "True"]
    assert told["batch"] == 8


def test_jax_running_out_of_memory_is_told_from_other_errors(answers: Answers) -> None:
    assert answers.training["out of memory"]


def test_memory_that_jax_plans_grows_with_pixels_and_filters(answers: Answers) -> None:
    told = {name: int(value) for name, value in answers.training.items() if "bytes" in name}
    # the softmax's input alone is a float32 a pixel and filter
    assert told["bytes 8 filters 64"] >= 4 * 8 * 64 * 64
    for filters in (8, 16):
        wide, small = told[f"bytes {filters} filters 128"], told[f"bytes {filters} filters 64"]
        assert 3.5 < wide / small < 4.5
    assert told["bytes 16 filters 128"] > 1.5 * told["bytes 8 filters 128"]
