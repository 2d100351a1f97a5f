"""A large TIFF is read row by row, and gives the pixels that it gives as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from voc_builder.base.errors import UserError
from voc_builder.pixels import image_rows
from voc_builder.pixels.image_rows import TiffRows, open_image, shrunk
from voc_builder.pixels.images import decode_image, resize_image


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_rows, "LARGE", 0)


def pixels(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize(
    ("image", "how"),
    [
        (pixels(50, 40, 3), {"rowsperstrip": 7}),
        (pixels(50, 40, 3), {"rowsperstrip": 50}),
        (pixels(50, 40, 3), {"tile": (32, 16)}),
        (pixels(50, 40, 3), {"rowsperstrip": 9, "compression": "zlib", "predictor": True}),
        (pixels(50, 40), {"rowsperstrip": 8, "photometric": "minisblack"}),
        (pixels(50, 40), {"rowsperstrip": 8, "photometric": "miniswhite"}),
        (pixels(50, 40, 3, dtype=np.uint16), {"rowsperstrip": 8}),
        (pixels(50, 40, 3), {"rowsperstrip": 8, "bigtiff": True, "byteorder": ">"}),
    ],
)
def test_rows_are_those_of_the_image_as_a_whole(
    tmp_path: Path, image: np.ndarray, how: dict[str, Any]
) -> None:
    path = tmp_path / "large.tif"
    kind = {} if image.ndim == 2 else {"photometric": "rgb"}
    tifffile.imwrite(path, image, **{**kind, **how})
    # OpenCV reads no tiles as small as those
    whole = image if "tile" in how else decode_image(path.read_bytes(), "large.tif")
    with open_image(path) as photo:
        assert isinstance(photo, TiffRows)
        assert photo.shape == whole.shape == (50, 40, 3)
        for top, end in [(0, 50), (0, 1), (6, 8), (49, 50), (13, 37), (30, 90)]:
            np.testing.assert_array_equal(photo[top:end], whole[top:end])


def test_what_cannot_be_read_by_rows_is_decoded_at_once(tmp_path: Path) -> None:
    turned, flat = tmp_path / "turned.tif", tmp_path / "photo.png"
    tifffile.imwrite(turned, pixels(6, 4, 3), photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    flat.write_bytes(turned.read_bytes())
    planes = tmp_path / "planes.tif"
    tifffile.imwrite(planes, pixels(3, 6, 4), photometric="rgb", planarconfig="separate")
    alpha = tmp_path / "alpha.tif"
    tifffile.imwrite(alpha, pixels(6, 4, 4), photometric="rgb", extrasamples=["unassalpha"])
    for path, shape in ((turned, (4, 6, 3)), (planes, (6, 4, 3)), (alpha, (6, 4, 3))):
        with open_image(path) as image:
            assert isinstance(image, np.ndarray)
            assert image.shape == shape


def test_a_smaller_image_is_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_rows, "LARGE", 24)
    tifffile.imwrite(tmp_path / "a.tif", pixels(6, 4, 3), photometric="rgb")
    with open_image(tmp_path / "a.tif") as image:
        assert isinstance(image, np.ndarray)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(50, 40, 3), photometric="rgb", compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    with open_image(path) as image:
        assert image[:24].shape == (24, 40, 3)
        with pytest.raises(UserError, match=r"a\.tif: cannot be decoded: .*: save it again"):
            image[24:32]
    path.write_bytes(b"II*\0 and nothing more")
    with pytest.raises(UserError, match=r"a\.tif: not an image that can be decoded"):
        open_image(path).__enter__()
    with pytest.raises(UserError, match=r"gone\.tif: cannot be read: No such file"):
        open_image(tmp_path / "gone.tif").__enter__()


@pytest.mark.parametrize("rows", [4, 1000])
def test_shrunk_by_parts_is_nearly_what_it_is_as_a_whole(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_rows, "ROWS_AT_ONCE", rows)
    ramp = np.linspace(0, 255, 90 * 60).reshape(90, 60, 1).repeat(3, 2).astype(np.uint8)
    found = shrunk(ramp, 31, 20)
    whole = resize_image(ramp, 31, 20)
    assert np.abs(found.astype(int) - whole).max() <= 6
