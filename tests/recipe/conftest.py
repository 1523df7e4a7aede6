"""A small valid recipe as TOML tables, fresh for each test."""

import copy
from typing import Any

import pytest

TABLES: dict[str, Any] = {
    "run": {"name": "tiny"},
    "data": {"source": "kittens", "size": 16},
    "teacher": {"latent": 8, "widths": [8, 4], "critic": {"widths": [4, 8]}, "train": {"images": 64, "batch": 4}},
    "distill": {"widths": [4, 2], "critic": "teacher", "train": {"images": 64, "batch": 4}},
}


@pytest.fixture(scope="session")
def base() -> dict[str, Any]:
    """The tables for tests that draw many examples: copy them before changing them."""
    return TABLES


@pytest.fixture
def tables() -> dict[str, Any]:
    return copy.deepcopy(TABLES)
