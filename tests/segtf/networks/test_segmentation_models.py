"""The adapter works with segmentation-models and, where that is installed, with its fork."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from segtf.run.architectures import ENCODERS
from voc_builder.base.tensorflow import import_tensorflow

pytestmark = pytest.mark.slow
import_tensorflow()

from segtf.networks import model, segmentation_models  # noqa: E402  after TensorFlow

RNG = np.random.default_rng(0)


@pytest.fixture(params=["segmentation_models", "segmodels_keras"], autouse=True)
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that the adapter finds."""
    if request.param == "segmodels_keras":
        pytest.importorskip(request.param)
        monkeypatch.setitem(sys.modules, "segmentation_models", None)  # cannot be imported
    assert segmentation_models.package().__name__ == request.param


@pytest.mark.parametrize("encoder", ENCODERS)
def test_preprocessing_in_the_graph_is_that_of_the_package(encoder: str) -> None:
    images = RNG.integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
    wanted = segmentation_models.preprocessing(encoder)(images.copy())
    np.testing.assert_allclose(model._preprocessing(encoder)(images), wanted, atol=1e-4)


def test_every_encoder_that_is_offered_is_known() -> None:
    assert set(ENCODERS) <= set(segmentation_models.known_encoders())


@pytest.mark.parametrize("arch", segmentation_models.BUILDERS)
def test_a_network_reloads_and_takes_the_weights_of_another_encoder(
    arch: str, tmp_path: Path
) -> None:
    networks = [model.build_model(arch, "mobilenetv2", 2, (96, 96)) for _ in range(2)]
    networks[0].save(tmp_path / "best.keras")
    images = RNG.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    again = model.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(again(images), networks[0](images), atol=1e-6)
    said = model.load_encoder_weights(
        networks[1], "mobilenetv2", str(tmp_path / "best.keras"), shape=(96, 96)
    )
    assert "layers matched" in said
    encoder = {
        layer.name for layer in segmentation_models.build_encoder("mobilenetv2", None).layers
    }
    mine, theirs = (
        [
            w
            for layer in network.get_layer("network").layers
            if layer.name in encoder
            for w in layer.get_weights()
        ]
        for network in networks
    )
    assert len(mine) == len(theirs) > 50
    assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
