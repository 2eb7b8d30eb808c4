"""Small datasets in words that the tiny model knows."""

from __future__ import annotations

import json
from pathlib import Path

from support.tiny_models import VOCABULARY

_WORDS = [word for word in VOCABULARY if word.isalpha() and len(word) > 2]
_TEXTS = [" ".join(_WORDS[i % len(_WORDS)] for i in range(start, start + 6 + start % 9)) for start in range(60)]


def write_beir(root: Path) -> Path:
    """Write a retrieval dataset of 60 documents and 20 queries."""
    folder = root / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "title": "", "text": text}) + "\n" for i, text in enumerate(_TEXTS)),
        "utf-8",
    )
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": " ".join(_TEXTS[3 * i].split()[:3])}) + "\n" for i in range(20)),
        "utf-8",
    )
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{3 * i}\t1\n" for i in range(20)), "utf-8"
    )
    return folder


def write_intents(root: Path) -> Path:
    """Write a dataset of two classes."""
    folder = root / "intents"
    folder.mkdir()
    for name, chosen in (("train", _TEXTS[:40]), ("test", _TEXTS[40:])):
        rows = [f"{text},{'long' if len(text.split()) > 9 else 'short'}" for text in chosen]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    return folder
