"""The server's page as it is used in Chromium: choose, drop or paste an image, see, download."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segtf.services.http.config import ServeConfig
from tests.segtf.chromium import Chromium, open_chromium
from tests.segtf.services.http.serving import CLASSES, server, squares, write_model

pytestmark = pytest.mark.slow

SHOWN = "document.getElementById('picture')"
LOADED = f"({SHOWN}.complete && {SHOWN}.naturalWidth)"
DONE = "!document.getElementById('numbers').hidden && !document.querySelector('.busy')"
FAILED = "!document.getElementById('error').hidden && !document.querySelector('.busy')"
TEXT = "document.getElementById('{}').innerText"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = ServeConfig(write_model(tmp_path_factory.mktemp("page")))
    with server(config, ("--max-upload-mb", 1, "--max-megapixels", 1)) as (_, address):
        yield address


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "фото 1.png"
    Image.fromarray(squares(600, 800)).save(path)
    return path


def choose(chromium: Chromium, path: Path) -> None:
    root = chromium.call("DOM.getDocument")["root"]["nodeId"]
    found = chromium.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    chromium.call("DOM.setFileInputFiles", nodeId=found, files=[str(path)])


def test_a_chosen_image_shows_its_overlay_and_areas(
    chromium: Chromium, address: str, image: Path
) -> None:
    chromium.go(address)
    legend = chromium.ask("[...document.querySelectorAll('.legend li')].map(i => i.textContent)")
    assert legend == list(CLASSES)
    assert f"curl -F file=@image.jpg {address}/predict" in chromium.ask(TEXT.format("commands"))
    choose(chromium, image)
    chromium.wait(DONE)
    chromium.wait(LOADED)
    assert chromium.ask(f"[{SHOWN}.naturalWidth, {SHOWN}.naturalHeight]") == [800, 600]
    areas = chromium.ask(TEXT.format("areas"))
    assert re.search(rf"{CLASSES[1]}\s+45,\d\d\d\s+9\.\d\s%", areas), areas
    assert CLASSES[2] in areas
    assert chromium.ask(TEXT.format("facts")).startswith("800 × 600 pixels, 2 objects, ")
    assert chromium.ask("document.getElementById('error').hidden")
    names = (
        "['overlay', 'mask', 'json'].map(kind => document.getElementById(`get-${kind}`).download)"
    )
    assert chromium.ask(names) == ["фото 1_overlay.jpg", "фото 1_mask.png", "фото 1.json"]
    text = "fetch(document.getElementById('get-json').href).then(answer => answer.text())"
    assert json.loads(chromium.ask(text))["width"] == 800


def test_the_view_switches_between_overlay_image_and_mask(
    chromium: Chromium, address: str, image: Path
) -> None:
    chromium.go(address)
    choose(chromium, image)
    chromium.wait(DONE)
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(b => b.textContent)"
    seen = [(chromium.ask(pressed), chromium.ask(f"{SHOWN}.src"))]
    for view in ("image", "mask"):
        chromium.click(f"[data-view={view}]")
        chromium.wait(LOADED)
        seen.append((chromium.ask(pressed), chromium.ask(f"{SHOWN}.src")))
    assert [names for names, _ in seen] == [["overlay"], ["image"], ["mask"]]
    assert len({source for _, source in seen}) == 3
    pixel = (
        "(c => (c.width = c.height = 1, c = c.getContext('2d'), c.drawImage("
        f"{SHOWN}, -200, -200), [...c.getImageData(0, 0, 1, 1).data]))"
        "(document.createElement('canvas'))"
    )
    assert chromium.ask(pixel) == [128, 0, 0, 255]  # a chip in the mask


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_can_be_dropped_and_pasted(
    way: str, chromium: Chromium, address: str, image: Path
) -> None:
    chromium.go(address)
    draw = (
        "new Promise(done => { const c = document.createElement('canvas'); c.width = 40;"
        " c.height = 30; c.getContext('2d').fillRect(0, 0, 40, 30); c.toBlob(done); })"
    )
    kind = {"drop": "DragEvent", "paste": "ClipboardEvent"}[way]
    key = {"drop": "dataTransfer", "paste": "clipboardData"}[way]
    chromium.ask(
        f"{draw}.then(blob => {{ const held = new DataTransfer(); "
        "held.items.add(new File([blob], 'drawn.png', { type: 'image/png' })); "
        f"dispatchEvent(new {kind}('{way}', {{ {key}: held }})); }})"
    )
    chromium.wait(DONE)
    assert chromium.ask(TEXT.format("name")) == "drawn.png"
    assert chromium.ask(TEXT.format("facts")).startswith("40 × 30 pixels")


def test_the_cutout_is_downloaded_on_demand(
    chromium: Chromium, address: str, image: Path, tmp_path: Path
) -> None:
    chromium.go(address)
    choose(chromium, image)
    chromium.wait(DONE)
    saved = {"behavior": "allow", "downloadPath": str(tmp_path)}
    chromium.call("Page.setDownloadBehavior", **saved)
    button = "document.getElementById('get-cutout')"
    chromium.ask(f"{button}.click()")
    assert chromium.ask(f"{button}.disabled")
    chromium.wait(f"!{button}.disabled")
    path = tmp_path / "фото 1_cutout.png"
    for _ in range(1000):
        if path.is_file():
            break
        time.sleep(0.01)
    with Image.open(path) as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (800, 600))


def test_a_refusal_is_shown_and_the_next_image_is_answered(
    chromium: Chromium, address: str, image: Path, tmp_path: Path
) -> None:
    chromium.go(address)
    refused = (("text.txt", b"no image", "JPEG"), ("large.jpg", b"0" * 1_000_001, "1 MB"))
    for name, content, fragment in refused:
        (tmp_path / name).write_bytes(content)
        choose(chromium, tmp_path / name)
        chromium.wait(FAILED)
        assert fragment in chromium.ask(TEXT.format("error"))
        assert chromium.ask("document.getElementById('answer').hidden")
    choose(chromium, image)
    chromium.wait(DONE)
    assert chromium.ask("document.getElementById('error').hidden")


def test_dark_and_light_differ_and_a_phone_cuts_nothing_off(
    chromium: Chromium, address: str, image: Path
) -> None:
    shade = "getComputedStyle(document.body).backgroundColor"
    for width, dark, back in ((1000, True, "rgb(20, 24, 30)"), (360, False, "rgb(246, 247, 249)")):
        chromium.go(address, width, dark)
        choose(chromium, image)
        chromium.wait(DONE)
        chromium.wait(LOADED)
        assert chromium.ask(shade) == back
        page = "document.documentElement"
        assert chromium.ask(f"{page}.scrollWidth === {page}.clientWidth")
        for element in (".drop", ".stage", "#areas", "#get-cutout", "#commands"):
            left, _, wide, _ = chromium.box(element)
            assert left >= 0 and left + wide <= width, element


def test_every_control_has_a_name_and_shows_the_focus(
    chromium: Chromium, address: str, image: Path
) -> None:
    chromium.go(address)
    choose(chromium, image)
    chromium.wait(DONE)
    chromium.call("Accessibility.enable")
    nodes = chromium.call("Accessibility.getFullAXTree")["nodes"]
    named: list[Any] = [(n["role"]["value"], n["name"]["value"]) for n in nodes if not n["ignored"]]
    controls = [pair for pair in named if pair[0] in ("button", "link", "image")]
    assert ("image", "overlay of фото 1.png") in controls
    assert ("button", "cut-out") in controls
    assert [pair for pair in controls if not pair[1].strip()] == []
    outline = (
        "(e => { const s = getComputedStyle(e.id === 'file' ? e.nextElementSibling : e);"
        " return s.outlineStyle + ' ' + s.outlineWidth; })(document.activeElement)"
    )
    seen = set()
    for _ in range(8):
        chromium.press("Tab")
        seen.add(chromium.ask(outline))
    assert seen == {"solid 3px"}
