"""What runs on every runtime where tests beside it run on the default one."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.options import RuntimeName

each_runtime = pytest.mark.parametrize("runtime", [name.value for name in RuntimeName], indirect=True)
