"""What was logged, the CPU aside: a CPU without VNNI has more said of it."""

from __future__ import annotations

import pytest

_OF_THE_CPU = "intel_quantized_embeddings.encoding.probing"


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return every message but those on what int8 is worth on this CPU."""
    return [record.getMessage() for record in caplog.records if record.name != _OF_THE_CPU]
