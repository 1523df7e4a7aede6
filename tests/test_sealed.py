"""Small files under a hash: what is damaged is noticed."""

from pathlib import Path

import pytest

from ganlet.files import write_json
from ganlet.sealed import read_sealed, write_sealed

VALUE = {"key": "k", "distance": 1.25, "rows": [1, 2, {"a": None}]}


def test_what_was_sealed_comes_back_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    write_sealed(path, VALUE)
    assert read_sealed(path, VALUE) == VALUE
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        assert read_sealed(path, VALUE) in (None, VALUE)  # white space may change
    path.write_bytes(whole[:-20])
    assert read_sealed(path, VALUE) is None


@pytest.mark.parametrize("content", ["[]", "null", "", "{}", '{"key": "k"}', "[" * 5000])
def test_what_is_no_sealed_file_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.json").write_text(content)
    assert read_sealed(tmp_path / "v.json", VALUE) is None


def test_a_missing_file_is_empty_a_folder_damaged_and_one_of_an_earlier_version_taken(tmp_path: Path) -> None:
    assert read_sealed(tmp_path / "none.json", VALUE) == {}
    (tmp_path / "folder.json").mkdir()
    assert read_sealed(tmp_path / "folder.json", VALUE) is None
    write_json(tmp_path / "old.json", VALUE)
    assert read_sealed(tmp_path / "old.json", VALUE) == VALUE
    assert read_sealed(tmp_path / "old.json", ["key"]) is None
