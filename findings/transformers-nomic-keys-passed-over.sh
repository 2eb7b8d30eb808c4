#!/usr/bin/env bash
# transformers 5.5.4 beside 5.24.0, Python 3.11.
# The published NomicBERT models have the keys of GPT-2 in config.json (n_embd, n_layer, n_head, n_inner, n_positions). The
# class that transformers 5 has of its own for model_type "nomic_bert" keeps them as they are and builds its defaults: a file
# that says 6 layers of 384 gives 12 layers of 768. Nothing is said of it.
# Output seen:
#   transformers 5.5.4: asked for 6 layers of 384, built 12 of 768, warnings 0
#   transformers 5.24.0: asked for 6 layers of 384, built 12 of 768, warnings 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.5.4 5.24.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "transformers==$version" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
    mkdir "$folder/model-$version"
    "$folder/$version/bin/python" - "$folder/model-$version" <<'PYTHON' 2>/dev/null | tee -a "$folder/seen"
import json
import logging
import sys
import warnings
from pathlib import Path

import transformers

sizes = {"n_embd": 384, "n_layer": 6, "n_head": 12, "n_inner": 1536, "n_positions": 8192, "vocab_size": 30528}
(Path(sys.argv[1]) / "config.json").write_text(json.dumps({"model_type": "nomic_bert", **sizes}))
said = []
handler = logging.Handler()
handler.emit = said.append
logging.getLogger("transformers").addHandler(handler)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    built = transformers.AutoConfig.from_pretrained(sys.argv[1])
print(
    f"transformers {transformers.__version__}: asked for {sizes['n_layer']} layers of {sizes['n_embd']}, built "
    f"{built.num_hidden_layers} of {built.hidden_size}, warnings {len(said) + len(caught)}"
)
PYTHON
done
{
    echo "transformers 5.5.4: asked for 6 layers of 384, built 12 of 768, warnings 0"
    echo "transformers 5.24.0: asked for 6 layers of 384, built 12 of 768, warnings 0"
} | diff - "$folder/seen"
