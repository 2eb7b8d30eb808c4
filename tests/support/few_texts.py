"""As many texts as quantizing takes at the least, for tests that are not about calibration."""

from __future__ import annotations

TEN_TEXTS = [
    f"the {word} of the river at night"
    for word in ("bank", "boat", "bridge", "end", "fish", "light", "mouth", "source", "stone", "water")
]
