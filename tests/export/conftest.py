"""The npm package onnxruntime-web, fetched once into a cache, and what reads pixels off a page."""

import base64
import hashlib
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

import pytest

from ganlet.export.web import RUNTIMES
from ganlet.files import write_bytes

VERSION = "1.30.0"
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # the registry's


def _sha512(path: Path) -> str:
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture(scope="session")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's folder, with those of its files that the page takes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganlet-tests"
    archive = cache / ADDRESS.rsplit("/", 1)[1]
    if not archive.is_file() or _sha512(archive) != SHA512:
        try:
            with urllib.request.urlopen(ADDRESS, timeout=60) as response:
                write_bytes(archive, response.read())
        except OSError as error:
            pytest.skip(f"onnxruntime-web {VERSION} is not in {cache}, and the npm registry is unreachable: {error}")
    assert _sha512(archive) == SHA512
    folder = tmp_path_factory.mktemp("npm") / "onnxruntime-web"
    with tarfile.open(archive) as opened:
        for name in ("package.json", *(f"dist/{name}" for name in RUNTIMES[VERSION])):
            content = opened.extractfile(f"package/{name}")
            assert content is not None
            write_bytes(folder / name, content.read())
    return folder


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed at will."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
