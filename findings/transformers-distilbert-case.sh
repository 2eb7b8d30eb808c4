#!/usr/bin/env bash
# transformers 5.5.4 beside 4.57.6 and 5.24.0, Python 3.11.
# A DistilBERT whose tokenizer_config.json says do_lower_case=false, over a tokenizer.json that lowers: 4.57 and 5.24 keep
# case, 5.5 lowers, since it takes tokenizer.json as it is wherever the named class is not the one it lists for the architecture
# (BertTokenizer, for DistilBERT). Nothing is said of it.
# Output seen:
#   transformers 4.57.6: [0, 2]
#   transformers 5.5.4: [1, 2]
#   transformers 5.24.0: [0, 2]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 4.57.6 5.5.4 5.24.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "transformers==$version" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
    "$folder/$version/bin/python" - "$folder/model-$version" <<'PYTHON' 2>/dev/null | tee -a "$folder/seen"
import json
import sys
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

folder = Path(sys.argv[1])
folder.mkdir()
tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "cat": 1, "dog": 2}, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "config.json").write_text(json.dumps({"model_type": "distilbert"}))
special = dict.fromkeys(("unk_token", "pad_token", "cls_token", "sep_token", "mask_token"), "[UNK]")
config = {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False, **special}
(folder / "tokenizer_config.json").write_text(json.dumps(config))
loaded = transformers.AutoTokenizer.from_pretrained(str(folder))
print(f"transformers {transformers.__version__}: {loaded('Cat dog', add_special_tokens=False)['input_ids']}")
PYTHON
done
expected=$'transformers 4.57.6: [0, 2]\ntransformers 5.5.4: [1, 2]\ntransformers 5.24.0: [0, 2]'
if [ "$(cat "$folder/seen")" != "$expected" ]; then
    echo "the behaviour changed" >&2
    exit 1
fi
