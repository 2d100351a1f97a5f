"""Download Oxford-IIIT Pet: images of cats and dogs with trimaps, by Parkhi, Vedaldi, Zisserman and
Jawahar 2012, CC BY-SA 4.0, https://www.robots.ox.ac.uk/~vgg/data/pets/
"""

from __future__ import annotations

from pathlib import Path

from voc_builder.base.errors import UserError

SERVERS = ("https://thor.robots.ox.ac.uk/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")
# SHA-256 as in TensorFlow Datasets
ARCHIVES = {
    "annotations.tar.gz": "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
    "images.tar.gz": "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
}
CHUNK = 2**20  # bytes read at once


def download_pets(out: Path) -> None:
    """Download the archives into `out` and unpack them there; an archive that lies there already is
    used if its SHA-256 is right. Raises `UserError` without pooch, and where no server answers with
    the right file.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise UserError(
            f"--download needs the package {error.name}: pip install -e '.[pets]'"
        ) from error
    for name, sha256 in ARCHIVES.items():
        reasons = []
        for server in SERVERS:
            try:
                pooch.retrieve(
                    server + name,
                    known_hash=f"sha256:{sha256}",
                    fname=name,
                    path=out,
                    processor=pooch.Untar(extract_dir="."),
                    downloader=pooch.HTTPDownloader(progressbar=True, chunk_size=CHUNK),
                )
                break
            # not reachable, and a wrong SHA-256
            except (requests.RequestException, ValueError) as error:
                reasons.append(f"{server}{name}: {' '.join(str(error).split())}")
        else:
            raise UserError(
                f"{'; '.join(reasons)}: check the network (behind a proxy set HTTPS_PROXY) and run "
                f"the command again, or put the file there by hand as {out / name}"
            )
