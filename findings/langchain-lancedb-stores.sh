#!/usr/bin/env bash
# langchain-community 0.4.2 and langchain-lancedb 0.1.0, both with lancedb 0.40.0, Python 3.11.
# langchain-community's LanceDB replaces the whole table with every add_texts, unless it is made with mode="append"; and
# then it refuses metadata with a key that the first batch did not have. Both add a text again under an id that is there.
# langchain-lancedb's finds every text with the database's folder as its metadata "source", whatever was stored.
# Output seen:
#   langchain-community, default: ['a river']
#   langchain-community, append: ['a cat', 'a river', 'a river']
#   langchain-community, another key: ValueError
#   langchain-lancedb: ['a cat', 'a river', 'a river'], sources changed: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langchain-community==0.4.2 langchain-lancedb==0.1.0 lancedb==0.40.0 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/seen"
from langchain_community.vectorstores import LanceDB as Community
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_lancedb import LanceDB as Partner

embeddings = DeterministicFakeEmbedding(size=8)


def filled(store):
    for text, id in (("a cat", "1"), ("a river", "2"), ("a river", "2")):
        store.add_texts([text], metadatas=[{"source": "mine.txt"}], ids=[id])
    return store


def texts(store):
    return sorted(found.page_content for found in store.similarity_search("a", k=9))


print("langchain-community, default:", texts(filled(Community(uri="default", embedding=embeddings))))
append = filled(Community(uri="append", embedding=embeddings, mode="append"))
print("langchain-community, append:", texts(append))
try:
    append.add_texts(["a dog"], metadatas=[{"source": "mine.txt", "page": 1}], ids=["3"])
except ValueError as exc:
    print("langchain-community, another key:", type(exc).__name__)
partner = filled(Partner(embeddings, uri="partner"))
sources = {found.metadata["source"] for found in partner.similarity_search("a", k=9)}
print(f"langchain-lancedb: {texts(partner)}, sources changed: {sources == {'partner'}}")
PYTHON
if [ "$(cat "$folder/seen")" != "langchain-community, default: ['a river']
langchain-community, append: ['a cat', 'a river', 'a river']
langchain-community, another key: ValueError
langchain-lancedb: ['a cat', 'a river', 'a river'], sources changed: True" ]; then
    echo "the behaviour changed" >&2
    exit 1
fi
