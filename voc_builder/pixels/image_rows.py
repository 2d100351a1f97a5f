"""Open an image: decoded as a whole, or a large TIFF whose rows are read on demand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image, quiet_pillow, resize_image

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of TIFF and BigTIFF
LARGE = 64_000_000  # pixels; a smaller image is decoded as a whole
UPRIGHT = 1  # orientation (TIFF 6.0, section 8)
ROWS_AT_ONCE = 1024  # read together by `shrunk`


class Rows(Protocol):
    """An image that is read by rows: `rows[top:end]` is RGB, shape (end - top, W, 3)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 3."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint8]: ...


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Rows]:
    """The image at `path`: an array, or `TiffRows` for most TIFF of more than 64 megapixels. Raises
    `UserError` if it cannot be read.
    """
    try:
        tiff = _large_tiff(path)
        encoded = b"" if tiff else path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not tiff:
        yield decode_image(encoded, str(path))
        return
    with tiff:
        yield TiffRows(tiff.pages.first, str(path))


def count_pixels(path: Path) -> int:
    """Number of pixels by the header of the image at `path`, 0 if Pillow cannot read it."""
    quiet_pillow()
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError):
        return 0


def _large_tiff(path: Path) -> TiffFile | None:
    """The open file if it is a TIFF that is large and can be read by rows."""
    with path.open("rb") as file:
        if file.read(4) not in TIFF:
            return None
    import tifffile

    tiff = None
    # if tifffile cannot open the file, `decode_image` says why
    with contextlib.suppress(tifffile.TiffFileError):
        tiff = tifffile.TiffFile(path)
        page: Any = tiff.pages[0] if tiff.pages else None
        if page and page.imagewidth * page.imagelength > LARGE and _by_rows(page):
            return tiff
    if tiff:
        tiff.close()
    return None


def shrunk(image: Rows, height: int, width: int) -> NDArray[np.uint8]:
    """The image reduced to (height, width), with only part of its rows in memory."""
    whole = image.shape[0]
    each = max(ROWS_AT_ONCE * height // whole, 1)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, each):
        end = min(top + each, height)
        some = image[top * whole // height : end * whole // height]
        result[top:end] = resize_image(some, end - top, width)
    return result


class TiffRows:
    """The rows of a TIFF page; a strip or a row of tiles is decoded on demand."""

    def __init__(self, page: TiffPage, name: str) -> None:
        self.page: Any = page
        self.name = name
        self.shape: tuple[int, ...] = (page.imagelength, page.imagewidth, 3)
        self.segment_rows: int = page.tilelength if page.is_tiled else page.rowsperstrip
        self.across = math.ceil(page.imagewidth / page.tilewidth) if page.is_tiled else 1
        self.kept: tuple[int, NDArray[np.uint8]] | None = None  # the last row of segments

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint8]:
        top, end, _ = rows.indices(self.shape[0])
        first, last = top // self.segment_rows, (max(end, top + 1) - 1) // self.segment_rows
        parts = []
        for number in range(first, last + 1):
            begin = number * self.segment_rows
            part = self._row_of_segments(number)
            parts.append(part[max(top - begin, 0) : end - begin])
        return np.concatenate(parts)

    def _row_of_segments(self, number: int) -> NDArray[np.uint8]:
        """RGB of the rows of a strip, or of tiles side by side."""
        if self.kept is not None and self.kept[0] == number:
            return self.kept[1]
        begin = number * self.segment_rows
        height = min(self.segment_rows, self.shape[0] - begin)
        samples = self.page.samplesperpixel
        found = np.zeros((height, self.shape[1], samples), self.page.dtype)
        for i in range(number * self.across, (number + 1) * self.across):
            segment, left = self._segment(i)
            if segment is not None:
                place = np.s_[: segment.shape[0], left : left + segment.shape[1]]
                found[place] = segment[:height, : self.shape[1] - left]
        self.kept = number, _rgb(found, inverted=self.page.photometric == 0)
        return self.kept[1]

    def _segment(self, number: int) -> tuple[NDArray[Any] | None, int]:
        """Pixels of a strip or tile, None for an empty one, and its first column."""
        file = self.page.parent.filehandle
        file.seek(self.page.dataoffsets[number])
        encoded = file.read(self.page.databytecounts[number])
        left = (number % self.across) * (self.page.tilewidth if self.page.is_tiled else 0)
        try:
            segment, _, _ = self.page.decode(encoded, number)
        except Exception as error:  # every codec raises errors of its own
            reason = " ".join(str(error).split())
            raise UserError(f"{self.name}: cannot be decoded: {reason}: save it again") from None
        return (None if segment is None else segment[0]), left


def _by_rows(page: Any) -> bool:
    """Whether `TiffRows` can read the page: upright, grey or RGB, 8 or 16 bits, interleaved, in a
    compression that the installed tifffile can decode.
    """
    orientation = page.tags.get("Orientation")
    return (
        page.photometric in (0, 1, 2)
        and page.dtype in (np.uint8, np.uint16)
        and page.samplesperpixel in (1, 3)  # alpha is left to OpenCV's rules
        and (page.planarconfig == 1 or page.samplesperpixel == 1)
        and (orientation is None or orientation.value == UPRIGHT)
        and _decodable(page)
    )


def _decodable(page: Any) -> bool:
    try:
        return page.decode is not None
    except Exception:  # a codec that is not installed
        return False


def _rgb(pixels: NDArray[Any], *, inverted: bool) -> NDArray[np.uint8]:
    """RGB as libtiff converts it: 65535 becomes 255, grey is repeated."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if inverted:
        pixels = 255 - pixels
    if pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(pixels, np.uint8)
