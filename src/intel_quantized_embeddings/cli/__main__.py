"""`python -m intel_quantized_embeddings.cli`."""

import sys

from intel_quantized_embeddings.cli import main

sys.exit(main())
