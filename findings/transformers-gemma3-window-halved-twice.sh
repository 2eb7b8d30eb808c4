#!/usr/bin/env bash
# transformers 5.5.4 beside 5.24.0, Python 3.11.
# A Gemma 3 text model that looks both ways (EmbeddingGemma) has half its configured window on each side. 5.5.4 saves the halved
# number, and halves it again where the file is read: a model that was saved once, unchanged, sees 129 tokens on each side and
# not 257. 5.24.0 saves the number that it was given.
# Output seen:
#   transformers 5.5.4: made 257, saved 257, read 129
#   transformers 5.24.0: made 257, saved 512, read 257
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.5.4 5.24.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "transformers==$version" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
    "$folder/$version/bin/python" - "$folder/model-$version" <<'PYTHON' 2>/dev/null | tee -a "$folder/seen"
import json
import sys
from pathlib import Path

import transformers

made = transformers.Gemma3TextConfig(sliding_window=512, use_bidirectional_attention=True)
made.save_pretrained(sys.argv[1])
saved = json.loads((Path(sys.argv[1]) / "config.json").read_text())["sliding_window"]
read = transformers.Gemma3TextConfig.from_pretrained(sys.argv[1]).sliding_window
print(f"transformers {transformers.__version__}: made {made.sliding_window}, saved {saved}, read {read}")
PYTHON
done
printf '%s\n' "transformers 5.5.4: made 257, saved 257, read 129" "transformers 5.24.0: made 257, saved 512, read 257" |
    diff - "$folder/seen"
