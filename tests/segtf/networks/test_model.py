"""Every network takes a raw image, answers with probabilities, and survives its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segtf.run.architectures import ARCHS, Arch
from voc_builder.base.errors import UserError
from voc_builder.base.tensorflow import import_tensorflow

pytestmark = pytest.mark.slow
import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.networks import model as of  # noqa: E402

RNG = np.random.default_rng(0)


def image(size: int, count: int = 1) -> np.ndarray:
    return RNG.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_network_answers_with_probabilities_at_the_size_of_the_image(arch: Arch) -> None:
    size = 96
    answer = np.asarray(of.build_model(arch, "mobilenetv2", 4, (size, size))(image(size, 2)))
    assert answer.shape == (2, size, size, 4)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch != "pspnet"])
def test_height_and_width_are_free(arch: Arch) -> None:
    network = of.build_model(arch, "mobilenetv2", 2, (96, 96))
    assert network(np.zeros((1, 64, 160, 3), np.uint8)).shape == (1, 64, 160, 2)


@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch != "pspnet"])
def test_padding_and_cropping_are_those_of_numpy(arch: Arch, tmp_path: Path) -> None:
    network = of.build_model(arch, "mobilenetv2", 2, (40, 57))
    free = of.build_model(arch, "mobilenetv2", 2, (64, 64))
    free.set_weights(network.get_weights())
    images = RNG.integers(0, 256, (2, 40, 57, 3), dtype=np.uint8)
    grown = np.pad(images, ((0, 0), (12, 12), (3, 4), (0, 0)), mode="reflect")
    expected = np.asarray(free(grown))[:, 12:-12, 3:-4]
    found = np.asarray(network(images))
    assert found.shape == (2, 40, 57, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    network.save(tmp_path / "best.keras")
    np.testing.assert_array_equal(of.load_model(tmp_path / "best.keras")(images), found)


@pytest.mark.parametrize("shape", [(96, 144), (80, 60)])
def test_pspnet_takes_rectangles(shape: tuple[int, int]) -> None:
    network = of.build_model("pspnet", "mobilenetv2", 3, shape)
    answer = np.asarray(network(np.zeros((1, *shape, 3), np.uint8)))
    assert answer.shape == (1, *shape, 3)
    np.testing.assert_allclose(answer.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "encoder"),
    [
        ("unet", "efficientnetb0"),
        ("fpn", "resnet18"),
        ("linknet", "mobilenet"),
        ("pspnet", "mobilenetv2"),
        ("unet", "vgg16"),
        ("unet_plain", ""),
    ],
)
def test_a_network_reloads_from_its_file_to_the_same_answer_after_a_step(
    arch: Arch, encoder: str, tmp_path: Path
) -> None:
    network = of.build_model(arch, encoder, 3, (96, 96))
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False, run_eagerly=True)
    network.train_on_batch(image(96, 2), np.zeros((2, 96, 96), np.uint8))
    network.save(tmp_path / "best.keras")
    images = image(96)
    again = of.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(again(images), network(images), atol=1e-6)


def test_a_global_average_loses_nothing_among_many_pixels() -> None:
    values = RNG.random((1, 512, 512, 4), np.float32) * 0.1 + 0.2
    wanted = values.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(of.GlobalAverage()(values), wanted, rtol=1e-6)
    kept = of.GlobalAverage(keepdims=True)(values)
    np.testing.assert_allclose(kept, wanted[:, None, None], rtol=1e-6)


def test_no_network_averages_in_one_row() -> None:
    inner = of.build_model("unet", "efficientnetb0", 3, (64, 64)).get_layer("network")
    kinds = [type(layer) for layer in inner.layers]
    assert keras.layers.GlobalAveragePooling2D not in kinds
    assert kinds.count(of.GlobalAverage) == 16


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "best.keras").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"best\.keras: not a network"):
        of.load_model(tmp_path / "best.keras")


def encoder_of(network: keras.Model, name: str = "block_5_project") -> np.ndarray:
    return network.get_layer("network").get_layer(name).get_weights()[0]


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_encoder_weights_come_from_a_file_and_the_matches_are_counted(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"donor{suffix}"
    if suffix == ".keras":
        network = of.build_model("fpn", "mobilenetv2", 2, (64, 64))
        network.save(path)
        donor = encoder_of(network)
    else:
        backbone = keras.applications.MobileNetV2(
            weights=None, include_top=False, input_shape=(96, 96, 3)
        )
        for layer in backbone.layers:  # fresh gains of one and means of zero look like no weights
            layer.set_weights([w + 0.01 for w in layer.get_weights()])
        backbone.save_weights(path)
        donor = backbone.get_layer("block_5_project").get_weights()[0]
    network = of.build_model("unet", "mobilenetv2", 3, (64, 64))
    said = of.load_encoder_weights(network, "mobilenetv2", str(path), shape=(64, 64))
    np.testing.assert_array_equal(encoder_of(network), donor)
    assert "104 of 104 layers matched" in said


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    backbone = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(96, 96, 3)
    )
    backbone.save_weights(tmp_path / "mobile.weights.h5")
    network = of.build_model("unet", "efficientnetb0", 3, (64, 64))
    with pytest.raises(UserError, match="does not fit efficientnetb0"):
        of.load_encoder_weights(
            network, "efficientnetb0", str(tmp_path / "mobile.weights.h5"), shape=(64, 64)
        )


def test_a_network_on_another_encoder_has_nothing_to_give_though_its_decoder_fits(
    tmp_path: Path,
) -> None:
    of.build_model("unet", "mobilenet", 3, (64, 64)).save(tmp_path / "other.keras")
    network = of.build_model("unet", "mobilenetv2", 3, (64, 64))
    with pytest.raises(UserError, match="no layer fits mobilenetv2"):
        of.load_encoder_weights(
            network, "mobilenetv2", str(tmp_path / "other.keras"), shape=(64, 64)
        )


def test_weights_that_are_not_there_are_named() -> None:
    network = of.build_model("unet", "mobilenetv2", 3, (64, 64))
    with pytest.raises(UserError, match=r"gone\.h5: no such file"):
        of.load_encoder_weights(network, "mobilenetv2", "gone.h5", shape=(64, 64))


@pytest.mark.parametrize("arch", ARCHS)
def test_batch_normalisation_keeps_pace_with_few_steps_in_every_network(arch: Arch) -> None:
    network = of.build_model(arch, "mobilenetv2", 3, (96, 96))
    of.fit_batchnorm(network, momentum=0.9)
    momenta = {
        layer.momentum
        for layer in network.get_layer("network").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert momenta
    assert max(momenta) == 0.9
