"""The commands that load an encoder take the options of `Encoder.load`, under one name each."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.benchmarks import options as benchmarks
from intel_quantized_embeddings.cli import parser
from intel_quantized_embeddings.cli.jobs import _all_given
from intel_quantized_embeddings.cli.options import given, load_keywords
from intel_quantized_embeddings.evaluation import options as evaluation
from intel_quantized_embeddings.options import LoadKeywords

COMMANDS = {
    "serve": ["serve", "m"],
    "ingest": ["ingest", "docs", "--chroma", "c", "--collection", "docs"],
    "query": ["query", "why?", "--chroma", "c", "--collection", "docs"],
}
GIVEN = {
    "runtime": "ipex",
    "precision": "fp32",
    "revision": "main",
    "cache_folder": "there",
    "local_files_only": True,
    "num_threads": 2,
    "pooling": "cls",
    "max_length": 64,
    "truncate_dim": 32,
    "query_instruction": "q: ",
    "document_instruction": "",
    "allow_torchscript": True,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_reaches_the_encoder(command):
    words = COMMANDS[command].copy()
    for name, value in GIVEN.items():
        option = "--threads" if name == "num_threads" else f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    assert load_keywords(parser().parse_args(words)) == GIVEN
    assert LoadKeywords.__annotations__.keys() - GIVEN == {
        "normalize",
        "warm_shapes",
        "instruction_set",
    }  # for Python alone


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_given_is_left_to_its_default(command):
    assert load_keywords(parser().parse_args(COMMANDS[command])) == {}


def test_a_number_that_is_zero_is_given():
    assert given(parser().parse_args([*COMMANDS["query"], "-k", "0"]), "k", "model") == {"k": 0}


@pytest.mark.parametrize("options", [evaluation.Options, benchmarks.Options], ids=["evaluate", "benchmark"])
def test_where_models_are_from_and_kept_reaches_those_that_measure(options):
    kind = "evaluate" if options is evaluation.Options else "benchmark"
    words = [kind, "me/model", "--revision", "v1", "--cache-folder", "there", "--local-files-only"]
    words += ["--dataset", "data", "--allow-torchscript"] if kind == "evaluate" else []
    taken = options(**_all_given(parser().parse_args(words)))
    assert (taken.revision, taken.cache_folder, taken.local_files_only) == ("v1", "there", True)
    assert getattr(taken, "allow_torchscript", True)
