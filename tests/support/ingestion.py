"""Folders of texts to ingest, and what a Chroma folder holds afterwards."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import chromadb
import numpy as np
from chromadb.config import Settings

from support.tiny_models import VOCABULARY

CAT, RIVER = "the cat sat on the mat", "a cold river in the old city"
_WORDS = [word for word in VOCABULARY if word.isalpha() and len(word) > 1]

Contents = dict[str, tuple[str, dict, bytes]]


def write_small_docs(folder: Path) -> Path:
    """Write three documents, one of them in a folder of its own and one as a line of JSON."""
    (folder / "deep").mkdir(parents=True)
    (folder / "cat.md").write_text(f"# cat\n\n{CAT}\n", "utf-8")
    (folder / "deep" / "river.txt").write_text(RIVER, "utf-8")
    (folder / "lines.jsonl").write_text('{"text": "music and light", "id": 1, "title": "songs"}\n', "utf-8")
    return folder


def write_texts(folder: Path, *, files: int, paragraphs: int, seed: int = 0, first: int = 0) -> Path:
    """Files of random paragraphs, one of which comes twice in every file, and is the same whatever the seed."""
    random_ = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    again = " ".join(random.Random("again").choices(_WORDS, k=45))
    for number in range(first, first + files):
        texts = [" ".join(random_.choices(_WORDS, k=random_.randint(20, 45))) for _ in range(paragraphs)]
        texts[:1] = texts[paragraphs // 2 : paragraphs // 2 + 1] = [again]
        (folder / f"text-{number:03}.txt").write_text("\n\n".join(texts), "utf-8")
    return folder


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode()]
    font = "<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    for n, text in enumerate(pages):
        drawn = zlib.compress(f"BT /F 12 Tf 72 700 Td ({text}) Tj ET".encode())
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {4 + 2 * n} 0 R/Resources{font}>>"
        head = f"<</Length {len(drawn)}/Filter/FlateDecode>>stream\n".encode()
        objects += [page.encode(), head + drawn + b"\nendstream"]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj".encode() + content + b"endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF\n"
    return body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def iqe(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=300, **options)


def command(*arguments: object) -> list[str]:
    """The command line, for what must be started and stopped."""
    return [sys.executable, "-m", "intel_quantized_embeddings.cli", *map(str, arguments)]


def contents(chroma: Path, name: str = "docs") -> Contents:
    """Everything a collection holds, read by a client of its own: texts, metadata and vectors by id."""
    with chromadb.PersistentClient(chroma, settings=Settings(anonymized_telemetry=False)) as client:
        return contents_of(client.get_collection(name, embedding_function=None))


def contents_of(collection: chromadb.Collection) -> Contents:
    """The same of an open collection, once its index is seen to find what it holds.

    Chroma's index is approximate, and random models put all texts close together: a few may be missed in any.
    """
    found = collection.get(include=["documents", "metadatas", "embeddings"])
    vectors = np.asarray(found["embeddings"], dtype=np.float32)
    if len(vectors):
        some = slice(None, None, max(len(vectors) // 300, 1))
        nearest = collection.query(query_embeddings=vectors[some], n_results=1, include=["documents"])
        met = [texts[0] == text for texts, text in zip(nearest["documents"], found["documents"][some], strict=True)]
        assert sum(met) >= 0.99 * len(met), f"{sum(met)} of {len(met)} texts are found by their own vector"
    rows = zip(found["ids"], found["documents"], found["metadatas"], vectors, strict=True)
    return {id: (text, dict(metadata or {}), vector.tobytes()) for id, text, metadata, vector in rows}


def copied(folder: Path, target: Path) -> Path:
    """A copy of a Chroma folder in another's place."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(folder, target)
