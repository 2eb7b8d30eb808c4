#!/usr/bin/env bash
# chromadb 1.5.9, Python 3.11, Linux x86-64, embedded client.
# A record whose metadata have 5,461 keys (or a list of some thousands of items) ends in an InternalError ("Failed to apply logs to
# the metadata segment"), and not only that record: from then on reading, writing and deleting any record of its collection
# fail in the same way, also after the database is opened again; only count answers. 5,460 keys are taken well.
# (SQLite takes 32,766 parameters in a statement, six for each key.)
# Seen:
#   5460 keys: stored, then count 2
#   5461 keys: InternalError
#   afterwards upsert of a plain record: InternalError
#   afterwards delete of the record: InternalError
#   opened again, get: InternalError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install "chromadb==1.5.9"
cat >"$folder/try.py" <<'PYTHON'
import sys

import chromadb
from chromadb.config import Settings

place = sys.argv[1]
settings = Settings(anonymized_telemetry=False)


def tried(call):
    try:
        return f"{call()}"
    except Exception as exc:
        return type(exc).__name__


def add(collection, id, keys):
    metadata = {f"key{n}": n for n in range(keys)}
    collection.upsert(ids=[id], embeddings=[[1.0, 0.0]], documents=["text"], metadatas=[metadata])
    return f"stored, then count {collection.count()}"


with chromadb.PersistentClient(f"{place}/few", settings=settings) as client:
    collection = client.create_collection("docs", embedding_function=None)
    add(collection, "plain", 1)
    few = tried(lambda: add(collection, "a", 5460))
    print("5460 keys:", few)
with chromadb.PersistentClient(f"{place}/many", settings=settings) as client:
    collection = client.create_collection("docs", embedding_function=None)
    add(collection, "plain", 1)
    found = [tried(lambda: add(collection, "a", 5461))]
    print("5461 keys:", found[0])
    for what, call in {
        "upsert of a plain record": lambda: add(collection, "b", 1),
        "delete of the record": lambda: collection.delete(ids=["a"]),
    }.items():
        found.append(tried(call))
        print(f"afterwards {what}:", found[-1])
with chromadb.PersistentClient(f"{place}/many", settings=settings) as client:
    collection = client.get_collection("docs", embedding_function=None)
    found.append(tried(lambda: collection.get(limit=1)))
    print("opened again, get:", found[-1])
sys.exit(0 if few == "stored, then count 2" and set(found) == {"InternalError"} else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder"
