"""What the service answers to an image."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from segtf.inference.predictor import open_predictor
from segtf.services.http import answer as answers
from segtf.services.http.answer import Cancelled, Wanted, answer
from segtf.services.http.app import accepted
from segtf.services.http.config import ServeConfig
from segtf.services.http.errors import Refused
from tests.segtf.services.http.serving import (
    CLASSES,
    IMAGE,
    PNG,
    client_of,
    encoded,
    opened,
    write_model,
)


def test_json_has_areas_and_outlines_for_a_body_and_for_a_form(client: TestClient) -> None:
    as_body = client.post("/predict", content=PNG)
    as_form = client.post("/predict", files={"file": ("фото.png", PNG)}, data={"note": "x"})
    assert (as_body.status_code, as_body.headers["content-type"]) == (200, "application/json")
    found = as_body.json()
    assert {**found, "seconds": 0} == {**as_form.json(), "seconds": 0}
    assert (found["width"], found["height"]) == (80, 60)
    assert [(c["name"], c["colour"], c["pixels"], c["share"]) for c in found["classes"]] == [
        (CLASSES[0], "#000000", 4318, 0.899583),
        (CLASSES[1], "#800000", 450, 0.09375),
        (CLASSES[2], "#008000", 32, 0.006667),
    ]
    assert [(o["name"], o["box"], o["pixels"], o["holes"]) for o in found["objects"]] == [
        (CLASSES[1], [10, 15, 30, 15], 450, []),
        (CLASSES[2], [72, 30, 8, 4], 32, []),
    ]
    outline = np.array(found["objects"][0]["polygon"], np.float32)
    assert (outline.min(0).tolist(), outline.max(0).tolist()) == ([10, 15], [40, 30])
    assert cv2.contourArea(outline) > 400
    (facts,) = found["models"]
    assert (facts["provider"], facts["height"], facts["mode"]) == (
        "CPUExecutionProvider",
        64,
        "tile",
    )
    assert client.post("/predict?polygons=no", content=PNG).json()["objects"] == []


@pytest.mark.parametrize(
    ("kind", "media_type", "mode"),
    [
        ("mask", "image/png", "P"),
        ("overlay", "image/jpeg", "RGB"),
        ("cutout", "image/png", "RGBA"),
    ],
)
def test_pictures_have_the_size_of_the_image(
    kind: str, media_type: str, mode: str, client: TestClient, model: Path
) -> None:
    found = client.post(f"/predict?output={kind}", content=PNG)
    picture = opened(found.content)
    assert found.headers["content-type"] == media_type
    assert (picture.mode, picture.size) == (mode, (80, 60))
    if kind == "mask":
        np.testing.assert_array_equal(picture, open_predictor([model]).mask(IMAGE))
    if kind == "cutout":
        alpha = np.asarray(picture)[..., 3]
        assert (alpha[20, 20], alpha[5, 5]) == (255, 0)


def test_pictures_come_inside_the_json_too(client: TestClient) -> None:
    found = client.post("/predict?pictures=overlay,mask", content=PNG).json()["pictures"]
    assert list(found) == ["mask", "overlay"]
    kind, content = found["mask"].split(",")
    assert kind == "data:image/png;base64"
    mask = client.post("/predict?output=mask", content=PNG).content
    assert base64.b64decode(content) == mask


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html, */*;q=0.1", "json"),
        ("IMAGE/PNG;q=0.5, application/json;q=0.4", "mask"),
        ("image/*", "mask"),
        ("image/*, image/png;q=0.2", "overlay"),
        ("image/jpeg", "overlay"),
        ("application/*;q=0.3, image/*;q=nonsense", "json"),
    ],
)
def test_the_accept_header_chooses(accept: str, kind: str) -> None:
    assert accepted(accept) == kind


def test_an_impossible_accept_header_is_refused_unless_the_output_is_named(
    client: TestClient,
) -> None:
    odd = {"accept": "text/html, application/json;q=0"}
    assert client.post("/predict", content=PNG, headers=odd).status_code == 406
    assert client.post("/predict?output=mask", content=PNG, headers=odd).status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "MPO"])
def test_images_of_many_kinds_are_taken(kind: str, client: TestClient) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = client.post("/predict", content=encoded(IMAGE, kind, **options))
    assert found.status_code == 200, found.text
    assert found.json()["classes"][1]["pixels"] == pytest.approx(450, abs=30)


def test_an_image_is_rotated_as_its_exif_says(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = client.post("/predict", content=encoded(IMAGE, "JPEG", exif=exif)).json()
    assert (found["width"], found["height"]) == (60, 80)


def test_the_largest_of_many_objects_are_listed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "OBJECTS", 1)
    found = client.post("/predict", content=PNG).json()
    assert ([o["name"] for o in found["objects"]], found["objects_left_out"]) == ([CLASSES[1]], 1)


def test_a_network_without_background_makes_no_cutout(tmp_path: Path) -> None:
    path = write_model(tmp_path, classes=("road", "roof", "tree"))
    with client_of(ServeConfig(path)) as client:
        assert client.post("/predict?output=cutout", content=PNG).status_code == 422
        named = [o["name"] for o in client.post("/predict", content=PNG).json()["objects"]]
        assert named == ["road", "roof", "tree"]


def test_several_networks_answer_together(tmp_path: Path, model: Path) -> None:
    config = ServeConfig(model, mode="tile", overlap=0.5, tta="flips", ensemble="vote")
    with client_of(config, write_model(tmp_path)) as client:
        found = client.post("/predict", content=PNG).json()
    assert [m["mode"] for m in found["models"]] == ["tile", "tile"]
    assert found["classes"][1]["pixels"] == 450


def test_prediction_stops_when_cancelled_but_a_damaged_image_is_still_refused(model: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        answer(open_predictor([model], mode="tile"), PNG, Wanted(), cancel)
    with pytest.raises(Refused):
        answer(open_predictor([model]), PNG[:-60], Wanted(), cancel)
