"""The download of Oxford-IIIT Pet, from servers of the test."""

from __future__ import annotations

import functools
import hashlib
import io
import socket
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import download_pets
from scripts.make_pets import main

IMAGE = bytes(range(256)) * 40
TRIMAP = b"trimap" * 500


def pack(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


GOOD = {
    "annotations.tar.gz": pack({"annotations/trimaps/Tabby_1.png": TRIMAP}),
    "images.tar.gz": pack({"images/Tabby_1.jpg": IMAGE}),
}
WRONG = {name: bytes(len(content)) for name, content in GOOD.items()}


@dataclass
class Site:
    """A server, the files that it has and those that it was asked for."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(GOOD))
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.site.asked.append(name)
        if name not in self.site.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.site.files[name])))
        self.end_headers()
        self.wfile.write(self.site.files[name])

    def log_message(self, *args: object) -> None:
        """Nothing on stderr, which tests read."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the sites the servers of the set."""
    servers = []

    def start(*sites: Site) -> None:
        for site in sites:
            server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, site))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            servers.append(server)
        urls = tuple(f"http://127.0.0.1:{server.server_port}/" for server in servers)
        monkeypatch.setattr(download_pets, "SERVERS", urls)

    sums = {name: hashlib.sha256(content).hexdigest() for name, content in GOOD.items()}
    monkeypatch.setattr(download_pets, "ARCHIVES", sums)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def download(out: Path) -> int:
    return main([str(out), "--download"])


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_the_set_is_downloaded_once_and_unpacked(
    serve: Callable[..., None], tmp_path: Path
) -> None:
    site = Site()
    serve(site)
    out = tmp_path / "deep/pets"
    assert download(out) == 0
    assert (out / "images/Tabby_1.jpg").read_bytes() == IMAGE
    assert (out / "annotations/trimaps/Tabby_1.png").read_bytes() == TRIMAP
    assert download(out) == 0
    assert site.asked == list(GOOD)


def test_archives_put_there_by_hand_are_used(serve: Callable[..., None], tmp_path: Path) -> None:
    site = Site(files={})
    serve(site)
    for name, content in GOOD.items():
        (tmp_path / name).write_bytes(content)
    assert download(tmp_path) == 0
    assert (tmp_path / "images/Tabby_1.jpg").read_bytes() == IMAGE
    assert site.asked == []


def test_a_second_server_is_asked_for_what_the_first_lacks_or_has_wrong(
    serve: Callable[..., None], tmp_path: Path
) -> None:
    serve(Site(files={"images.tar.gz": WRONG["images.tar.gz"]}), Site())
    assert download(tmp_path) == 0
    assert (tmp_path / "annotations/trimaps/Tabby_1.png").read_bytes() == TRIMAP
    assert (tmp_path / "images/Tabby_1.jpg").read_bytes() == IMAGE


def test_a_wrong_checksum_is_refused_and_nothing_kept(
    serve: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(Site(files=WRONG))
    assert download(tmp_path) == 2
    sums = [hashlib.sha256(files["annotations.tar.gz"]).hexdigest() for files in (GOOD, WRONG)]
    error = last_error(capsys)
    assert all(expected in error for expected in sums)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_file_and_no_connection_are_named_in_one_line(
    serve: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve(Site(files={}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    (url,) = download_pets.SERVERS
    monkeypatch.setattr(download_pets, "SERVERS", (url, nobody))
    assert download(tmp_path) == 2
    error = last_error(capsys)
    assert f"{url}annotations.tar.gz: 404" in error
    assert f"{nobody}annotations.tar.gz: " in error
    assert str(tmp_path / "annotations.tar.gz") in error


def test_without_pooch_one_line_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert download(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pooch" in error and "[pets]" in error


@pytest.mark.parametrize("flag", [("--count", "5"), ("--seed", "2"), ("--layout", "dogs")])
def test_flags_of_drawing_do_not_go_with_download(
    flag: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--download", *flag]) == 2
    assert flag[0] in capsys.readouterr().err
