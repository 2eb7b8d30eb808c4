#!/usr/bin/env bash
# chromadb 1.5.9, Python 3.11.
# A float in a record's metadata comes back as another one, up to two floats beside it, if its shortest form has 16 or 17
# digits (of 2,000 thirds 228 do): what compares what it stored with what it has finds changes where there are none.
# Output seen:
#   1 of 3: 90.33333333333333 came back as 90.33333333333331
#   of 2000 thirds 228 came back as other numbers, by 1 float at most
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q chromadb==1.5.9 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
ANONYMIZED_TELEMETRY=False "$folder/venv/bin/python" -W ignore - "$folder/database" <<'PYTHON' | tee "$folder/seen"
import math
import sys

import chromadb

collection = chromadb.PersistentClient(sys.argv[1]).create_collection("docs", embedding_function=None)


def came_back(numbers):
    ids = [str(number) for number in numbers]
    collection.upsert(ids=ids, embeddings=[[1.0, 0.0]] * len(ids), metadatas=[{"score": number} for number in numbers])
    found = collection.get(ids=ids)
    scores = dict(zip(found["ids"], (kept["score"] for kept in found["metadatas"])))
    return [(number, scores[str(number)]) for number in numbers if scores[str(number)] != number]


some = came_back([0.5, 90.33333333333333, 1e22])
print(f"{len(some)} of 3:", *(f"{stored!r} came back as {found!r}" for stored, found in some))
thirds = came_back([number / 3 for number in range(2000)])
furthest = max(abs(found - stored) / math.ulp(stored) for stored, found in thirds)
print(f"of 2000 thirds {len(thirds)} came back as other numbers, by {furthest:.0f} float at most")
PYTHON
{
    echo "1 of 3: 90.33333333333333 came back as 90.33333333333331"
    echo "of 2000 thirds 228 came back as other numbers, by 1 float at most"
} | diff - "$folder/seen"
