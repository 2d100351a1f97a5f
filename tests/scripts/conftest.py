"""The drawn photos, their data set and a run, as the tests of training have them."""

from __future__ import annotations

from tests.segtf.conftest import dataset, photos, run

__all__ = ["dataset", "photos", "run"]
