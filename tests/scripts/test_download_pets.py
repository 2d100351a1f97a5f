"""The public set of pets, as far as it can be fetched from a server of the test's own."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import shutil
import socket
import tarfile
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import download_pets
from scripts.download_pets import Archive
from scripts.make_pets import main
from voc_builder.base.errors import UserError

PHOTO = bytes(range(256)) * 40
TRIMAP = b"trimap" * 500


def pack(files: dict[str, bytes]) -> bytes:
    """A tar.gz of the files, and of a link to a file of the system's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("images/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return packed.getvalue()


GOOD = {
    "images.tar.gz": pack(
        {"images/Tabby_1.jpg": PHOTO, "images/../../away": b"x", "/images/b": b"x", "other/c": b""}
    ),
    "annotations.tar.gz": pack(
        {"annotations/trimaps/Tabby_1.png": TRIMAP, "annotations/trimaps/._Tabby_1.png": b"x"}
    ),
}


@dataclass
class Site:
    """What a server has, and what it does wrong."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(GOOD))
    breaks_after: int | None = None  # bytes of each answer
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # name, Range


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name, wanted = self.path.lstrip("/"), self.headers["Range"]
        self.site.asked.append((name, wanted))
        if name not in self.site.files:
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.site.ranges else 0
        content = self.site.files[name][start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.site.breaks_after])

    def log_message(self, *args: object) -> None:
        """Nothing on stderr, which tests read."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Site]]]:
    """Makes the sites the servers of the set."""
    servers = []

    def start(*sites: Site) -> list[Site]:
        for site in sites:
            handler = functools.partial(Handler, site)
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            servers.append(server)
            site.url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(download_pets, "SERVERS", tuple(site.url for site in sites))
        return list(sites)

    archives = [
        Archive(name.partition(".")[0], len(content), hashlib.sha256(content).hexdigest())
        for name, content in GOOD.items()
    ]
    monkeypatch.setattr(download_pets, "ARCHIVES", tuple(archives))
    monkeypatch.setattr(download_pets, "CHUNK", 64)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def download(out: Path) -> int:
    return main([str(out), "--download"])


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_sums_and_sizes_are_those_of_tensorflow_datasets() -> None:
    assert [archive.name for archive in download_pets.ARCHIVES] == [
        "annotations.tar.gz",
        "images.tar.gz",
    ]
    assert sum(archive.size for archive in download_pets.ARCHIVES) == 811_092_049
    assert {len(bytes.fromhex(archive.sha256)) for archive in download_pets.ARCHIVES} == {32}


def test_the_set_is_fetched_and_unpacked_plain_files_alone_and_none_elsewhere(
    serve: Callable[..., list[Site]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (site,) = serve(Site())
    out = tmp_path / "deep" / "pets"
    assert download(out) == 0
    assert files_in(tmp_path) == [
        "deep/pets/annotations/trimaps/Tabby_1.png",
        "deep/pets/images/Tabby_1.jpg",
    ]
    assert (out / "images/Tabby_1.jpg").read_bytes() == PHOTO
    assert not (out / "images/passwd").is_symlink()
    capfd.readouterr()
    assert download(out) == 0, "nothing is fetched twice"
    assert len(site.asked) == 2
    assert "is there already" in capfd.readouterr().err


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_breaks_off_is_asked_for_the_rest(
    ranges: bool, serve: Callable[..., list[Site]], tmp_path: Path
) -> None:
    half = max(map(len, GOOD.values())) * 2 // 3
    (site, _) = serve(Site(breaks_after=half, ranges=ranges), Site())
    assert download(tmp_path) == 0
    assert (tmp_path / "images/Tabby_1.jpg").read_bytes() == PHOTO
    assert ("images.tar.gz", f"bytes={half}-") in site.asked


def test_what_was_fetched_is_kept_for_the_next_time(
    serve: Callable[..., list[Site]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(Site(breaks_after=10))
    assert download(tmp_path) == 2
    error = capsys.readouterr().err
    assert f"broke off after 40 of {len(GOOD['images.tar.gz'])} bytes" in error
    assert (tmp_path / "images.tar.gz.part").read_bytes() == GOOD["images.tar.gz"][:40]
    (site,) = serve(Site())
    assert download(tmp_path) == 0
    assert site.asked[0] == ("images.tar.gz", "bytes=40-")


def test_a_wrong_checksum_is_told_and_nothing_of_it_kept(
    serve: Callable[..., list[Site]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {name: bytes(len(content)) for name, content in GOOD.items()}
    bad, _ = serve(Site(files=wrong), Site(files=wrong))
    assert download(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    found, wanted = (hashlib.sha256(files["images.tar.gz"]).hexdigest() for files in (wrong, GOOD))
    assert f"{bad.url}images.tar.gz: its SHA-256 is {found}, not {wanted}" in error
    assert "run the command again, or fetch the file in another way" in error
    assert files_in(tmp_path) == []


def test_another_server_has_what_the_first_has_not(
    serve: Callable[..., list[Site]], tmp_path: Path
) -> None:
    wrong = {"images.tar.gz": bytes(len(GOOD["images.tar.gz"]))}  # and no annotations
    serve(Site(files=wrong), Site())
    assert download(tmp_path) == 0
    assert (tmp_path / "annotations/trimaps/Tabby_1.png").read_bytes() == TRIMAP


def test_no_such_file_and_no_connection_are_told_in_one_line(
    serve: Callable[..., list[Site]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (site,) = serve(Site(files={}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(download_pets, "SERVERS", (site.url, nobody))
    assert download(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{site.url}images.tar.gz: 404 Not Found; {nobody}images.tar.gz: no connection" in error
    assert f"put it there as {tmp_path / 'images.tar.gz'}" in error


def test_an_archive_that_was_put_there_is_used_if_it_is_the_right_one(
    serve: Callable[..., list[Site]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site,) = serve(Site(files={}))
    for name, content in GOOD.items():
        (tmp_path / name).write_bytes(content)
    assert download(tmp_path) == 0
    assert site.asked == []
    shutil.rmtree(tmp_path / "images")
    mine = tmp_path / "images.tar.gz"
    mine.write_bytes(b"something else")
    assert download(tmp_path) == 2
    assert f"{mine}: its SHA-256 is" in capsys.readouterr().err
    assert mine.read_bytes() == b"something else"


def test_a_full_disk_is_told_before_and_while_something_is_fetched(
    serve: Callable[..., list[Site]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (site,) = serve(Site())
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as small:
        small.setattr(
            shutil, "disk_usage", lambda _: usage(1, 0, 2 * len(GOOD["images.tar.gz"]) - 1)
        )
        assert download(tmp_path) == 2
    assert "MB are free" in capsys.readouterr().err
    assert site.asked == []

    def full(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    assert download(tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'images'}: No space left on device" in error
    assert "what was fetched is kept: run the command again" in error
    assert files_in(tmp_path) == ["images.tar.gz"]


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "images.tar.gz").write_bytes(GOOD["images.tar.gz"][:300])
    with pytest.raises(UserError, match="cannot be unpacked"):
        download_pets.unpack(tmp_path / "images.tar.gz", tmp_path / "images")
    assert files_in(tmp_path) == ["images.tar.gz"]


@pytest.mark.parametrize("flag", [("--count", "5"), ("--seed", "2"), ("--layout", "dogs")])
def test_flags_of_drawing_do_not_go_with_download(
    flag: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--download", *flag]) == 2
    assert f"{flag[0]}: of drawn photos alone" in capsys.readouterr().err
