"""Fetch Oxford-IIIT Pet: photos of cats and dogs with trimaps, by Parkhi, Vedaldi, Zisserman and
Jawahar 2012, CC BY-SA 4.0, https://www.robots.ox.ac.uk/~vgg/data/pets/
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from voc_builder.base.errors import UserError, going_on
from voc_builder.base.files import naming, replacing
from voc_builder.base.progress import note, progress

SERVERS = ("https://thor.robots.ox.ac.uk/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")
CHUNK = 2**20  # bytes read at once
SILENCE = 30.0  # seconds without a byte after which a server is given up
TRIES = 4  # of a server that breaks off in the middle


@dataclass(frozen=True)
class Archive:
    """A packed folder of the set."""

    folder: str
    size: int  # bytes
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.folder}.tar.gz"


# sizes and sums as TensorFlow Datasets has them; torchvision has the MD5 of the same files
ARCHIVES = (
    Archive(
        "annotations",
        19_173_078,
        "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
    ),
    Archive(
        "images",
        791_918_971,
        "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
    ),
)


class Refused(Exception):
    """Why a server did not give a file, in a few words."""


def download_pets(out: Path) -> None:
    """Fetch and unpack into `out` what is not in it yet. An archive that lies there is used, one
    that was begun is gone on with. Raises `UserError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with going_on("what was fetched is kept: run the command again"):
        for archive in ARCHIVES:
            folder, packed = out / archive.folder, out / archive.name
            if folder.exists():
                note(f"{folder} is there already")
                continue
            if not packed.exists():
                fetch(archive, packed)
            elif (found := _sum(packed)) != archive.sha256:
                raise UserError(
                    f"{packed}: its SHA-256 is {found}, not {archive.sha256}: delete it and run "
                    "the command again"
                )
            note(f"{packed}: unpacking")
            unpack(packed, folder)
            packed.unlink()


def fetch(archive: Archive, packed: Path) -> None:
    """Write the archive at `packed`, by way of a `.part` beside it with which a later call goes on.
    Raises `UserError` where no server gives all of it with the right checksum.
    """
    part = packed.with_name(f"{packed.name}.part")
    _refuse_small_disk(archive, part)
    reasons = []
    for server in SERVERS:
        try:
            _receive(server + archive.name, part, archive)
        except Refused as error:
            reasons.append(f"{server}{archive.name}: {error}")
        else:
            part.replace(packed)
            return
    raise UserError(
        f"{'; '.join(reasons)}: look after the network (behind a proxy set HTTPS_PROXY) and run "
        f"the command again, or fetch the file in another way and put it there as {packed}"
    )


def unpack(packed: Path, folder: Path) -> None:
    """Write the files of the archive's folder of that name. Raises `UserError`."""
    try:
        with replacing(folder) as beside, tarfile.open(packed) as members:
            beside.mkdir()
            for member in members:
                parts = PurePosixPath(member.name).parts
                # plain files within the folder alone, as tarfile's filter "data", which Python
                # 3.11.2 has not; macOS left a hidden one beside each
                inside = parts[:1] == (folder.name,) and ".." not in parts
                content = members.extractfile(member) if member.isfile() and inside else None
                if content is None or parts[-1].startswith("."):
                    continue
                file = beside.joinpath(*parts[1:])
                file.parent.mkdir(parents=True, exist_ok=True)
                with content, file.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(
            f"{packed}: cannot be unpacked ({error}): delete it and run again"
        ) from error


def _receive(url: str, part: Path, archive: Archive) -> None:
    """Fetch what `part` lacks. Raises `Refused`, and removes it where its checksum is wrong."""
    for _ in range(TRIES):
        before = _size(part)
        if before < archive.size:
            _append(url, part, archive)
        if before < _size(part) < archive.size:
            continue  # it broke off: ask for the rest
        break
    if (got := _size(part)) < archive.size:
        raise Refused(f"broke off after {got:,} of {archive.size:,} bytes")
    found = _sum(part)
    if found != archive.sha256:
        part.unlink()
        raise Refused(f"its SHA-256 is {found}, not {archive.sha256}")


def _append(url: str, part: Path, archive: Archive) -> None:
    """Ask once for what `part` lacks and write what comes. Raises `Refused`."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with _refusing():
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    # a server that does not know ranges begins anew
    whole = answer.status != HTTPStatus.PARTIAL_CONTENT
    left = archive.size - (0 if whole else start)
    with answer, naming(part), part.open("wb" if whole else "ab") as file:
        pieces = progress(_read(answer), -(-left // CHUNK), f"MB of {archive.name}", patience=3)
        for piece in pieces:
            file.write(piece)


def _read(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _refusing():
            piece = answer.read(CHUNK)
        if not piece:
            return
        yield piece


@contextmanager
def _refusing() -> Iterator[None]:
    """Makes `Refused` of what goes wrong on the net, which is an `OSError` as on a disk."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise Refused(f"{error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise Refused(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"broke off ({error or type(error).__name__})") from error


def _refuse_small_disk(archive: Archive, part: Path) -> None:
    """Raise `UserError` where there is no room for the archive and what is in it: pictures, which
    packing does not make smaller.
    """
    free, needed = shutil.disk_usage(part.parent).free, 2 * archive.size - _size(part)
    if free < needed:
        raise UserError(
            f"{part.parent}: {free / 1e6:,.0f} MB are free, {archive.name} and what is in it take "
            f"{needed / 1e6:,.0f} MB: free some space or choose another disk"
        )


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
