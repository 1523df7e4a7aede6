"""What a file says of itself is bounded before anything is allocated for it."""

from pathlib import Path

import pytest

from ganlet.device.contract import Port, read_contract
from ganlet.errors import GanletError

SAID = {"ganlet_schema": "1", "range": "-1,1"}


@pytest.mark.parametrize(
    ("latent", "side", "classes", "told"),
    [(2_000_000_000, 8, None, "latent 2000000000"), (8, 2**17, None, "131072"), (8, 8, "9" * 5000, "classes '9999")],
)
def test_sizes_that_no_generator_has_are_refused(latent: int, side: int, classes: str | None, told: str) -> None:
    inputs = [Port("z", "float32", (None, latent)), *([Port("label", "int64", (None,))] if classes else [])]
    outputs = [Port("images", "float32", (None, 3, side, 8))]
    metadata = SAID | {"latent": str(latent)} | ({"classes": classes} if classes else {})
    with pytest.raises(GanletError, match=told):
        read_contract(Path("x.onnx"), inputs, outputs, metadata)
