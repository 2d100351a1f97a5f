"""Growth from epoch to epoch is told from memory that levels off, and images in it are found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scripts.bench_memory import MEGABYTE, Memory, growth, memory_table, settled

LEVEL = [473.0] + [500.0, 482.0] * 16  # MB; batches on their way come and go
EPOCHS = 32


def after(own: Sequence[float]) -> list[Memory]:
    """Of a process that had so many MB of its own after each epoch, and 700 MB of files."""
    kinds = [{"VmRSS": each + 700, "RssAnon": each, "RssFile": 700, "RssShmem": 0} for each in own]
    return [{kind: int(size * MEGABYTE) for kind, size in memory.items()} for memory in kinds]


def leaking(megabytes: float) -> list[float]:
    """Own memory after each epoch of which so many MB are never given back."""
    return [own + megabytes * epoch for epoch, own in enumerate(LEVEL[:EPOCHS])]


def verdict(runs: dict[str, list[float]], more: float = 0.0) -> str:
    """With level runs beside `runs`; many images are 240 MB and take `more` of them."""
    level = LEVEL[:EPOCHS]
    own = {"real": level, "few": level, "many": [e + more for e in level], "memory": level, **runs}
    images = {"real": 3, "few": 27, "many": 267, "memory": 267}
    held = {name: size * MEGABYTE for name, size in images.items()}
    return memory_table({name: after(each) for name, each in own.items()}, held).verdict


def test_a_leak_shows_in_full_under_what_comes_and_goes() -> None:
    assert growth(after(leaking(2))) == pytest.approx(2 * MEGABYTE, rel=0.05)


@pytest.mark.parametrize("epochs", [4, 5, 7, 8, 33])
def test_the_growth_is_that_of_one_epoch_for_any_number_of_them(epochs: int) -> None:
    straight = [300.0 + 2 * epoch for epoch in range(epochs)]
    assert growth(after(straight)) == pytest.approx(2 * MEGABYTE)


def test_what_is_gained_in_the_first_quarter_is_no_growth() -> None:
    rising = [1660.0, 1809.0, 1830.0, 1865.0, 1871.0, 1883.0, 1872.0, 1884.0]
    own = [*rising, *[1873.0, 1885.0] * 12]
    assert growth(after(own)) == 0
    assert settled(after(own)) == (1873 * MEGABYTE, 1873 * MEGABYTE)


@pytest.mark.parametrize("leaks", ["real", "few", "many"])
def test_a_leak_with_the_images_on_disk_misses_what_is_wanted(leaks: str) -> None:
    assert "from epoch to epoch with the images on disk: missed" in verdict({leaks: leaking(2)})
    assert "from epoch to epoch with the images on disk: met" in verdict({leaks: leaking(0.5)})


def test_images_that_are_held_in_memory_on_purpose_are_not_judged() -> None:
    assert "missed" not in verdict({"memory": leaking(2)})


@pytest.mark.parametrize(("more", "word"), [(23, "met"), (25, "missed")])
def test_a_tenth_of_the_images_in_own_memory_may_be_chance(more: float, word: str) -> None:
    assert f"with the images on disk: {word} ({more:.0f} MB more of its own" in verdict({}, more)


def test_a_row_says_how_long_was_measured_and_where_it_levelled_off() -> None:
    found = {name: after(LEVEL[:EPOCHS]) for name in ("real", "few", "many", "memory")}
    table = memory_table(found, dict.fromkeys(found, 27 * MEGABYTE))
    assert table.rows[0] == ("real", "32", "27", "473", "482", "482", "+0.00", "700", "1200")
    assert len(table.columns) == len(table.rows[0])
