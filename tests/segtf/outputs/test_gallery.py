"""The files of the gallery, and its page in Chromium with mouse, touch and keys."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segtf.outputs.gallery import FOLDERS, PICTURES, Gallery, draw_layer, image_scores, shrink_mask
from segtf.scoring import metrics
from tests.segtf.chromium import Chromium, open_chromium
from voc_builder.base.colours import VOID, voc_colours

CLASSES = ["__background__", "chip", "дефект <b>&\"' #1: 100%"]
DEFECT = CLASSES[2]
ODD = ["Фото #3 100%", "a'b\"c <b>&amp;?x=1", "日本 の+写真", "sub/folder/name", "back\\slash"]
ODD += ["</script><!--", "%41", "$values @@values", "e\u0301;,=é"]


def image(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 120, np.uint8)


def ids(chip: int = 0, defect: int = 0, height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Class ids with that many columns of chip on the left and of defect on the right."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, :chip] = 1
    mask[:, width - defect :] = 2
    return mask


def add(shown: Gallery, *image: Any, **more: Any) -> None:
    """Draws an image and puts it on the page."""
    shown.append(shown.draw(*image, **more))


def gallery(out: Path, **options: Any) -> Gallery:
    return Gallery(out, CLASSES, voc_colours(3), **options)


def values(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="values">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1], parse_constant=pytest.fail)


def test_pictures_are_small(tmp_path: Path) -> None:
    mask = ids(500, 100, 1000, 4000)
    noise = np.random.default_rng(0).integers(90, 120, (1000, 4000, 3), np.uint8)
    add(gallery(tmp_path), "a", noise, mask, truth=np.roll(mask, 5))
    sizes = {}
    for kind, pattern in PICTURES.items():
        with Image.open(tmp_path / pattern.format("a")) as picture:
            sizes[kind] = picture.size
    assert sizes == {
        "image": (1600, 400),
        "prediction": (1600, 400),
        "truth": (1600, 400),
        "thumbnail": (360, 90),
        "truth_thumbnail": (360, 90),
    }
    layer = tmp_path / PICTURES["prediction"].format("a")
    assert layer.stat().st_size < 5_000


def test_without_truth_there_are_no_pictures_of_it(tmp_path: Path) -> None:
    add(gallery(tmp_path), "a", image(), ids(20))
    written = {path.parent.relative_to(tmp_path) for path in tmp_path.rglob("a.*")}
    assert {folder.as_posix() for folder in written} == {
        "images/photos",
        "images/predictions",
        "images/thumbnails",
    }
    assert written < set(FOLDERS)


def test_a_layer_is_translucent_over_classes_and_clear_over_the_background() -> None:
    mask = ids(30, 20)
    mask[:20, 35:55] = VOID
    layer = decode_layer(draw_layer(mask, voc_colours(3), {0, VOID}))
    assert layer[30, 45].tolist() == [0, 0, 0, 0]
    assert layer[30, 15].tolist() == [128, 0, 0, 102]
    assert layer[30, 70].tolist() == [0, 128, 0, 102]
    assert layer[30, 29].tolist() == [128, 0, 0, 255]  # the contour
    assert layer[30, 32].tolist() == [255, 255, 255, 255]  # its casing: the colour is dark
    assert {tuple(pixel) for pixel in layer[2:18, 37:53].reshape(-1, 4).tolist()} == {
        (90, 90, 90, 166),
        (200, 200, 200, 166),
    }


def decode_layer(png: bytes) -> NDArray[np.uint8]:
    """RGBA, shape (H, W, 4), as a browser sees it."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.mark.parametrize("count", [126, 255])
def test_a_layer_with_more_classes_than_lines_have_colours_still_paints_them(count: int) -> None:
    side = 4 * 16
    mask = np.kron(np.arange(256).reshape(16, 16) % count, np.ones((4, 4))).astype(np.uint8)
    layer = decode_layer(draw_layer(mask, voc_colours(), {VOID}))
    assert layer.shape == (side, side, 4)
    painted = layer[1::4, 1::4].reshape(-1, 4)
    assert len(np.unique(painted, axis=0)) > 100


def test_a_spot_of_a_rare_class_survives_the_thumbnail() -> None:
    mask = np.ones((1000, 1000), np.uint8)
    mask[:, 500:] = 0
    mask[601, 333] = 2
    small = shrink_mask(mask, 100, 100)
    assert np.argwhere(small == 2).tolist() == [[60, 33]]
    assert (small[:, 50:] == 0).all()


def test_scores_of_an_image_leave_void_and_absent_classes_out() -> None:
    truth = np.array([[0, 0, 1, 1, VOID]], np.uint8)
    mask = np.array([[0, 1, 1, 1, 0]], np.uint8)
    scores = image_scores(metrics.confusion(truth, mask, 3), CLASSES)
    assert scores == {
        "IoU __background__": 0.5,
        "IoU chip": 0.6667,
        f"IoU {DEFECT}": None,
    }


def test_the_page_knows_shares_scores_and_uncertainty(tmp_path: Path) -> None:
    shown = gallery(tmp_path)
    add(shown, "a", image(), ids(40), scores={"Dice": 0.25, "mIoU": float("nan")}, uncertainty=0.5)
    add(shown, "b", image(), ids(), truth=ids(0, 8), scores={"boundary": 0.123456})
    add(shown, "a", image(), ids(20), uncertainty=float("inf"))  # the later one counts
    known, b = values(shown.write()), ["b", 80, 60]
    assert known["scores"] == ["Dice", "mIoU", "boundary"]
    assert known["classes"] == [[1, "chip", [128, 0, 0]], [2, DEFECT, [0, 128, 0]]]
    assert known["images"] == [
        ["a", 80, 60, {"0": 0.75, "1": 0.25}, None, None, [None, None, None], None],
        [*b, {"0": 1.0}, {"0": 0.9, "2": 0.1}, [1, 0, 0.1, 0], [None, None, 0.1235], None],
    ]


def test_images_rank_by_faulty_objects_then_by_wrong_pixels(
    tmp_path: Path,
) -> None:
    shown = gallery(tmp_path)
    speck = ids()
    speck[0, :3] = 2
    add(shown, "faultless, a class absent", image(), ids(30), truth=ids(30))
    add(shown, "three pixels on an empty image", image(), speck, truth=ids())
    add(shown, "a missed object", image(), ids(40), truth=ids(40, 8))
    add(shown, "a rim", image(), ids(40), truth=ids(41))
    add(shown, "as bad a rim", image(), ids(41), truth=ids(40))
    add(shown, "unknown", image(), ids(40))
    rows = values(shown.write())["images"]
    assert {row[0]: row[5] and row[5][3] for row in rows} == {
        "a missed object": 0,
        "a rim": 1,
        "as bad a rim": 1,
        "three pixels on an empty image": 2,
        "faultless, a class absent": None,
        "unknown": None,
    }


def test_class_0_is_shown_where_it_is_no_background(tmp_path: Path) -> None:
    shown = Gallery(tmp_path, ["road", "roof"], voc_colours(2))
    add(shown, "a", image(), ids(79))
    assert [entry[1] for entry in values(shown.write())["classes"]] == ["road", "roof"]


def test_the_page_stays_light_with_2000_images(tmp_path: Path) -> None:
    shown = gallery(tmp_path)
    add(
        shown, "IMG_20240131_120000_0", image(), ids(21, 13), truth=ids(20, 11), uncertainty=0.12345
    )
    one = shown.write().stat().st_size
    add(
        shown, "IMG_20240131_120000_1", image(), ids(22, 13), truth=ids(20, 11), uncertainty=0.12345
    )
    per_image = shown.write().stat().st_size - one
    assert one + 1999 * per_image < 500_000


def test_names_are_escaped_in_script_and_text(tmp_path: Path) -> None:
    shown = gallery(tmp_path, title="Tom's <b> & @@values $values", subtitle="<i>")
    for name in ODD:
        add(shown, name, image(6, 8), ids(2, 1, 6, 8))
    page = shown.write()
    text = page.read_text(encoding="utf-8")
    assert (text.count("<script"), text.count("</script")) == (2, 2)
    assert [row[0] for row in values(page)["images"]] == ODD
    assert "<title>Tom&#39;s &lt;b&gt; &amp; @@values $values</title>" in text
    assert '<p class="soft">&lt;i&gt;</p>' in text


def test_the_page_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    text = gallery(tmp_path).write().read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|<link|<iframe| src=| href=", text)


@pytest.mark.skipif(sys.platform != "linux", reason="such names are Linux's")
def test_a_name_that_is_not_utf_8_is_shown_and_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 #1")
    shown = gallery(tmp_path)
    add(shown, name, image(), ids(5))
    row = values(shown.write())["images"][0]
    assert (row[0], row[-1]) == ("caf\\xe9 #1", "caf%E9%20%231")
    encoded = PICTURES["image"].format(row[-1])
    assert (tmp_path / unquote(encoded, errors="surrogateescape")).is_file()


def test_different_sizes_and_ids_without_a_name_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"truth.*Received: \(60, 80, 3\) and \(59, 80\)"):
        add(gallery(tmp_path), "a", image(), ids(), truth=ids(height=59), scores={})
    with pytest.raises(ValueError, match="needs a name and a colour"):
        add(gallery(tmp_path), "a", image(), np.full((60, 80), 7, np.uint8))
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(OSError) as raised:
        add(gallery(tmp_path), "a", image(), ids())
    assert str(tmp_path / "images") in str(raised.value.filename)


NAMES = "[...document.querySelectorAll('.grid b')].map(name => name.textContent)"
LINES = "[...document.querySelectorAll('.grid span')].map(line => line.textContent)"
SHOWN = "document.querySelector('dialog').open && document.getElementById('name').textContent"
AT = "document.querySelector('.handle').getAttribute('aria-valuenow')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 has no truth, 2 has a false alarm, 10 misses a defect, 9 is unsure, 30 shows nothing."""
    shown = gallery(tmp_path_factory.mktemp("some #1 100%"))
    add(shown, "image 9", image(), ids(30, 8), truth=ids(30, 8), uncertainty=0.9)
    add(shown, "image 10", image(), ids(40), truth=ids(40, 20), uncertainty=0.2)
    add(shown, "image 1", image(), ids(10, 4), uncertainty=0.4)
    add(shown, "image 2", image(), ids(20, 2), truth=ids(20), uncertainty=0.3)
    add(shown, "image 30", image(), ids(), truth=ids())
    return shown.write()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("", "10 2 9 30 1"),  # worst first, without a score last
        ("sort=worst&reverse=1", "9 30 2 10 1"),  # the faultless are equals
        ("sort=name", "1 2 9 10 30"),  # as a person counts
        ("sort=uncertain", "9 1 2 10 30"),
        ("sort=area:chip", "10 9 2 1 30"),
        (f"sort=area:{quote(DEFECT)}", "9 1 2 10 30"),
        (f"sort=low:IoU%20{quote(DEFECT)}", "2 10 9 1 30"),
        (f"sort=name&class={quote(DEFECT)}", "1 2 9 10"),
        (f"class={quote(DEFECT)}&in=missed", "10"),
        (f"class={quote(DEFECT)}&in=false", "2"),
        ("sort=nonsense&class=nothing&in=moon&image=none", "10 2 9 30 1"),
    ],
)
def test_the_address_sorts_and_filters(
    state: str, names: str, chromium: Chromium, page: Path
) -> None:
    chromium.open(page, state)
    assert chromium.ask(NAMES) == [f"image {number}" for number in names.split()]


@pytest.mark.slow
def test_the_controls_sort_and_filter_and_write_the_address(chromium: Chromium, page: Path) -> None:
    chromium.open(page)

    def pick(control: str, value: str) -> None:
        found = f"document.getElementById('{control}')"
        chromium.ask(f"{found}.value = {json.dumps(value)}")
        chromium.ask(f"{found}.dispatchEvent(new Event('change'))")

    pick("sort", f"area:{DEFECT}")
    assert chromium.ask(LINES)[0] == f"{DEFECT} 10\u00a0%, no fault"
    pick("class", DEFECT)
    pick("in", "missed")
    assert chromium.ask(NAMES) == ["image 10"]
    assert chromium.ask("document.getElementById('count').textContent") == "1 of 5 images."
    chromium.wait("location.hash.includes('in=missed')")
    chromium.open(page, chromium.ask("location.hash.slice(1)"))
    assert chromium.ask(NAMES) == ["image 10"]
    pick("class", "")
    chromium.click("#reverse")
    assert chromium.ask(NAMES)[0] == "image 10"  # the smallest area first


@pytest.mark.slow
def test_a_click_opens_an_image_and_back_closes_it(chromium: Chromium, page: Path) -> None:
    chromium.open(page, "sort=area:chip")
    chromium.click(".grid a")
    chromium.wait(f"({SHOWN}) === 'image 10'")
    assert chromium.ask("location.hash") == "#sort=area%3Achip&image=image+10"
    about = chromium.ask("document.querySelector('.about').innerText")
    assert re.search(r"chip\s+50\s%\s+50\s%", about)
    assert re.search(r"100%\s+0\s%\s+25\s%", about)
    assert re.search(r"uncertainty\s+0.200", about)
    chromium.ask("history.back()")
    chromium.wait(f"({SHOWN}) === false")
    assert "image=" not in chromium.ask("location.hash")


@pytest.mark.slow
def test_keys_move_between_images_and_escape_returns_the_focus(
    chromium: Chromium, page: Path
) -> None:
    chromium.open(page, "sort=name&image=image+1")
    chromium.press("ArrowLeft")
    assert chromium.ask(SHOWN) == "image 1"  # there is none before
    chromium.press("ArrowRight", "ArrowRight")
    assert chromium.ask(SHOWN) == "image 9"
    chromium.press("End")
    assert chromium.ask(SHOWN) == "image 30"
    chromium.press("Home", "ArrowRight")
    assert chromium.ask(SHOWN) == "image 2"
    assert chromium.ask("document.getElementById('place').textContent") == "2 of 5"
    chromium.press("Escape")
    chromium.wait(f"({SHOWN}) === false")
    focused = "document.activeElement.querySelector('b')?.textContent"
    chromium.wait(f"{focused} === 'image 2'")
    chromium.press("ArrowRight")
    chromium.press("Enter")
    assert chromium.ask(SHOWN) == "image 9"
    chromium.click("#close")
    chromium.wait(f"({SHOWN}) === false")


@pytest.mark.slow
def test_the_slider_follows_mouse_touch_and_keys(chromium: Chromium, page: Path) -> None:
    chromium.open(page, "image=image+10")
    left, top, width, height = chromium.box(".stage")
    assert width > 400
    assert width / height == pytest.approx(80 / 60, rel=0.01)
    middle = top + height / 2
    chromium.drag((left + width / 2, middle), (left + width / 4, middle))
    assert chromium.ask(AT) == "25"
    clip = "getComputedStyle(document.getElementById('{}')).clipPath"
    assert chromium.ask(clip.format("prediction")) == "inset(0px 75% 0px 0px)"
    assert chromium.ask(clip.format("truth")) == "inset(0px 0px 0px 25%)"
    chromium.touch((left + width / 4, middle), (left + width * 0.9, middle))
    assert chromium.ask(AT) == "90"
    chromium.press("ArrowLeft", "ArrowLeft", shift=True)
    assert chromium.ask(AT) == "80"
    chromium.press("f")
    assert chromium.ask(AT) == "0"
    chromium.press("f")
    assert chromium.ask(AT) == "100"
    chromium.ask("document.querySelector('.handle').focus()")
    chromium.press("ArrowLeft")
    assert (chromium.ask(AT), chromium.ask(SHOWN)) == ("95", "image 10")


@pytest.mark.slow
def test_the_chosen_comparison_stays(chromium: Chromium, page: Path) -> None:
    chromium.open(page, "sort=name&image=image+2")
    sides = "[...document.querySelectorAll('.side')].map(side => side.textContent).join()"
    hidden = "[...document.querySelectorAll('.stage img')].filter(i => i.hidden).map(i => i.id)"
    assert chromium.ask(sides) == "prediction,truth"
    chromium.click("[data-compare=image-truth]")
    assert (chromium.ask(sides), chromium.ask(hidden)) == ("image,truth", ["prediction"])
    chromium.press("ArrowLeft")  # of image 1 the truth is not known
    assert (chromium.ask(sides), chromium.ask(hidden)) == ("image,prediction", ["truth"])
    disabled = "[...document.querySelectorAll('[data-compare]')].map(b => b.disabled)"
    assert chromium.ask(disabled) == [False, True, True]
    chromium.press("2", "ArrowRight")
    assert chromium.ask(sides) == "image,truth"
    chromium.press("1")
    assert chromium.ask(sides) == "image,prediction"


@pytest.mark.slow
def test_odd_names_are_shown_and_their_pictures_found(chromium: Chromium, tmp_path: Path) -> None:
    shown = gallery(tmp_path / "наша папка #2 50%")
    names = [*ODD, os.fsdecode(b"caf\xe9 #1")] if sys.platform == "linux" else ODD
    for name in names:
        add(shown, name, image(6, 8), ids(2, 1, 6, 8), truth=ids(2, 0, 6, 8))
    page = shown.write()
    chromium.open(page, "sort=name")
    seen = chromium.ask(NAMES)
    assert sorted(seen) == sorted([*ODD, "caf\\xe9 #1"][: len(names)])
    loaded = "[...document.querySelectorAll('{} img')].every(i => i.complete && i.naturalWidth)"
    chromium.wait(loaded.format(".grid"))
    for name in seen:
        chromium.ask(f"location.hash = {json.dumps(f'image={quote(name)}&thumbnails=truth')}")
        chromium.wait(f"({SHOWN}) === {json.dumps(name)}")
        chromium.wait(loaded.format(".stage"))
    chromium.wait(loaded.format(".grid"))
    assert chromium.ask("document.querySelectorAll('.legend li')[1].textContent") == DEFECT
    assert chromium.ask("document.getElementById('prediction').alt").endswith(f"{DEFECT} 13\u00a0%")


@pytest.mark.slow
def test_without_scores_and_truth_their_controls_are_hidden(
    chromium: Chromium, tmp_path: Path
) -> None:
    shown = gallery(tmp_path)
    add(shown, "b", image(), ids(20))
    add(shown, "a", image(), ids())
    chromium.open(shown.write(), "sort=worst&thumbnails=truth&class=chip&in=missed")
    assert chromium.ask(NAMES) == ["b"]
    assert chromium.ask("[...document.getElementById('sort').options].map(o => o.value)") == [
        "name",
        "area:chip",
        f"area:{DEFECT}",
    ]
    assert chromium.ask(LINES) == ["chip 25\u00a0%"]
    seen = "['in-label', 'thumbnails-label'].map(id => document.getElementById(id).offsetWidth)"
    assert chromium.ask(seen) == [0, 0]
    chromium.open(tmp_path / "index.html", "image=a")
    assert "No class is predicted." in chromium.ask("document.querySelector('.about').innerText")


@pytest.mark.slow
def test_every_picture_has_a_text_and_every_control_a_name(chromium: Chromium, page: Path) -> None:
    chromium.open(page, "image=image+10")
    alts = chromium.ask("[...document.images].filter(i => !i.hidden).map(i => i.alt)")
    assert len(alts) == 8
    assert all(alts)
    assert f"truth of image 10: chip 50\u00a0%, {DEFECT} 25\u00a0%" in alts
    chromium.call("Accessibility.enable")
    nodes = chromium.call("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "slider", "combobox", "checkbox", "link", "dialog", "region"}
    named = [(n["role"]["value"], n["name"]["value"]) for n in nodes if not n["ignored"]]
    found = [pair for pair in named if pair[0] in controls]
    assert set(found) >= {
        ("dialog", "image 10"),
        ("slider", "Slider between prediction and truth"),
        ("button", "Previous image"),
        ("button", "Next image"),
        ("button", "Close"),
    }
    assert [pair for pair in found if not pair[1].strip()] == []


@pytest.mark.slow
def test_the_focus_is_visible(chromium: Chromium, page: Path) -> None:
    chromium.open(page, "sort=name")
    outline = (
        "(s => s.outlineStyle + ' ' + s.outlineWidth)(getComputedStyle(document.activeElement))"
    )
    seen = []
    while chromium.ask("document.activeElement.tagName") != "A":
        chromium.press("Tab")
        seen.append(chromium.ask(outline))
        assert len(seen) < 20
    assert set(seen) == {"solid 3px"}
    chromium.press("Enter", "Tab")
    assert chromium.ask(SHOWN) == "image 1"
    assert chromium.ask(outline) == "solid 3px"


@pytest.mark.slow
def test_dark_and_light_differ_and_a_narrow_window_fits(chromium: Chromium, page: Path) -> None:
    shade = "getComputedStyle(document.querySelector('dialog')).backgroundColor"
    for width, dark, back in ((1000, True, "rgb(20, 24, 30)"), (360, False, "rgb(246, 247, 249)")):
        chromium.open(page, "image=image+10", width=width, dark=dark)
        assert chromium.ask(shade) == back
        assert chromium.ask("document.documentElement.scrollWidth") <= width
        for element in ("#close", ".stage", "[data-compare=image-truth]", ".about"):
            left, top, wide, high = chromium.box(element)
            assert left >= 0 and top >= 0
            assert left + wide <= width and top + high <= 800


@pytest.mark.slow
def test_cards_have_one_height_and_far_ones_load_no_picture(
    chromium: Chromium, tmp_path: Path
) -> None:
    shown = gallery(tmp_path)
    add(shown, "photo", image(), ids(20))
    page = shown.write()
    text = page.read_text(encoding="utf-8")
    row = json.dumps(values(page)["images"][0], separators=(",", ":"))
    rows = ",".join(row.replace('"photo"', f'"image {number}"') for number in range(1000))
    assert row in text
    page.write_text(text.replace(row, rows), encoding="utf-8")
    chromium.open(page)
    chromium.wait("document.querySelectorAll('.grid li').length === 1000")
    heights = "new Set([...document.querySelectorAll('.grid li')].map(li => li.offsetHeight)).size"
    assert chromium.ask(heights) == 1
    assert chromium.box(".grid img")[3] == 176  # although the picture does not arrive
    begun = "[...document.querySelectorAll('.grid img')].filter(i => i.complete).length"
    assert chromium.ask(begun) < 500
    assert chromium.ask(f"{NAMES}.slice(-1)[0]") == "image 999"
