"""What runs on every runtime where tests beside it run on the default one."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.options import RuntimeName

each_runtime = pytest.mark.parametrize("runtime", [name.value for name in RuntimeName], indirect=True)

# Of several lengths, one empty.
TEXTS = [
    "the cat sat on the red mat",
    "",
    "what does the green model vector mean?",
    "stone " * 40,
    "water",
    "a small house in the old city, on a cold river; music and light",
    "Fire & wind: 100% (earth) - metal!",
]
