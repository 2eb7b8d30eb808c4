"""The `iqe` command: argument parsing only."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.cli import jobs as cli_jobs
from intel_quantized_embeddings.cli.ingest import COMMANDS
from intel_quantized_embeddings.cli.options import HUB, SETTINGS, Command
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.options import DEFAULT_RUNTIME, RuntimeName, listed_choices


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 when the job failed (its error is on stderr); `iqe ingest` and `iqe query` have more.
    """
    options = parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(options)


def run_command(options: argparse.Namespace) -> int:
    """Run a command, and report an error in a line; return the exit status as `main` does."""
    _take_any_text()
    try:
        run: Callable[[argparse.Namespace], int | None] = options.run
        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`, say) closed the pipe. Python would write the rest while it ends, and report an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"iqe: {_said(exc)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("iqe: stopped; nothing was left half done.", file=sys.stderr)
        return 130
    return status or 0


def _said(exc: Exception) -> str:
    """Return an error's message; that of a current folder which is gone names neither the folder nor the way out."""
    if isinstance(exc, FileNotFoundError) and exc.filename is None and not _is_current_folder_there():
        return "the current folder was deleted, or moved away: change to one that is there (`cd`), and run this again."
    return str(exc)


def _is_current_folder_there() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _take_any_text() -> None:
    """Let a terminal that is not UTF-8 show what it can of names and texts, instead of ending the run.

    JSON for scripts is ASCII, so that it stays JSON there.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parser() -> argparse.ArgumentParser:
    """Make the parser of every command's options."""
    from intel_quantized_embeddings.version import __version__

    whole = argparse.ArgumentParser(prog="iqe", description="int8 text embeddings on CPUs")
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    return whole


_RUNTIMES = listed_choices(RuntimeName)
_EACH_RUNTIME = f"one or more of {_RUNTIMES}; what each model's folder says when left out"
_MANY: dict[str, Any] = {"nargs": "+"}
_MODEL = ("model", str, "MODEL", "a folder or a hub id")
_OUT = ("output", str, "OUT", "the folder to write")
_JSON = ("--json", bool, None, "for scripts")
_DATASETS = ("--dataset", Path, "DIR", "folders of data", {**_MANY, "required": True, "dest": "datasets"})
_OVERWRITE = ("--overwrite", bool, None, "replace OUT if it is a model folder written here")

_COMMANDS = (
    Command(
        "quantize",
        cli_jobs.run_quantize,
        help="make an int8 folder of a model",
        description="Quantize a model that makes embeddings or sparse vectors, or a cross-encoder, to int8, measure it "
        "against fp32 on texts held out, and write a folder.",
        rows=(
            _MODEL,
            _OUT,
            ("--calibration", Path, "FILE", "documents like yours: one a line, or .jsonl with a text each"),
            ("--calibration-queries", Path, "FILE", "queries like yours, in the same form"),
            (
                *("--runtime", str, None),
                f"which runtime the folder is for: {_RUNTIMES}; {DEFAULT_RUNTIME.value} when left out, openvino for an "
                "export",
            ),
            ("--no-search", bool, None, "of openvino and ipex: take the usual SmoothQuant strength, compare none"),
            ("--no-measure", bool, None, "leave out how near int8 is to fp32, which takes most of the time"),
            (
                "--method",
                str,
                None,
                "of openvino: static, weight-only, dynamic, qat; native has one: docs/quantization.md",
            ),
            ("--qat-minutes", float, "MINUTES", "how long --method qat may fine-tune the weights (10)"),
            (
                *("--weight-bits", int, "BITS"),
                "of openvino: 8, or 7, as faithful on every CPU; 8 where this CPU is exact with them when left out",
            ),
            (
                *("--max-drop", float, "SHARE"),
                "lose at most this share against fp32 (0.01 is 1 %%): sensitive layers stay in floating point",
            ),
            ("--dataset", Path, "DIR", "measure that on a dataset's score, as `iqe evaluate` reads it"),
            ("--config", Path, "FILE", "settings in YAML: docs/quantization.md"),
            *SETTINGS,
            _OVERWRITE,
            *HUB,
        ),
    ),
    Command(
        "export",
        cli_jobs.run_export,
        help="convert a model of any architecture to OpenVINO",
        description="Convert with optimum-intel (the `export` extra) a model whose architecture is not built in.",
        rows=(_MODEL, _OUT, _OVERWRITE, *HUB),
    ),
    Command(
        "info",
        cli_jobs.run_info,
        help="tell what a folder is",
        description="Show an int8 folder's manifest and check its hashes, or what another model's folder would be used "
        "with. Ends with status 1 where the folder can't be loaded as it is.",
        rows=(("model", str, "FOLDER", "a folder, or a hub id whose files are on this machine"), _JSON),
    ),
    Command(
        "doctor",
        cli_jobs.run_doctor,
        help="tell what a report of a fault should begin with",
        description="Show the CPU, the kernels used, cores, versions, cached models, whether the hub answers, and what "
        "a self-test of the engine gives: its bits beside stored ones, and its speed. Ends with status 1 where the "
        "engine is missing or gives other bits.",
        rows=(("--no-self-test", bool, None, "do not run the engine, which takes ten seconds"), _JSON),
    ),
    Command(
        "models",
        cli_jobs.run_models,
        help="list the architectures that run and the models known by name",
        rows=(_JSON,),
    ),
    Command(
        "push",
        cli_jobs.run_push,
        help="upload an int8 folder to the hub",
        description="Check a folder that `iqe quantize` wrote and upload it. The token is that of HF_TOKEN or "
        "`hf auth login`.",
        rows=(
            ("folder", str, "FOLDER", "an int8 folder"),
            ("repo_id", str, "REPO", "where it goes, OWNER/NAME; made if it is not there"),
            ("--revision", str, "BRANCH", "another branch than main; made if it is not there"),
            ("--private", bool, None, "make a new repository private"),
            ("--message", str, "TEXT", "the commit's message"),
        ),
    ),
    *COMMANDS,
    Command(
        "serve",
        cli_jobs.run_serve,
        help="answer OpenAI's /v1/embeddings, Cohere's /v1/rerank and text-embeddings-inference's routes",
        description="Serve models over HTTP (the `serve` extra): embedders as OpenAI's /v1/embeddings, "
        "cross-encoders as Cohere's and Jina's /v1/rerank, these and sparse models as text-embeddings-inference's "
        "routes, with /health and /metrics: docs/serving.md. SIGTERM and Ctrl-C answer what was taken on, then end it.",
        loads=True,
        rows=(
            ("models", str, "MODEL", "a folder or a hub id", _MANY),
            (
                *("--name", str, "NAME", "what a model is called in requests (MODEL); once for each, in their order"),
                {"action": "append", "dest": "names"},
            ),
            ("--lazy", bool, None, "load each model when a request first needs it"),
            ("--idle-seconds", float, "SECONDS", "let a model go after so long without a request"),
            (
                *("--max-memory-mib", int, "N"),
                *("let models go that no request needs while the process has more memory", "memory_mib"),
            ),
            ("--host", str, None, "address to listen on (127.0.0.1, which other machines can't reach)"),
            ("--port", int, None, "port to listen on (8000); 0 takes a free one"),
            (
                *("--api-key", str, "KEY"),
                "ask clients for it, or for one of several; IQE_API_KEY (with spaces between keys) is not seen by `ps`",
                {"action": "append", "dest": "api_keys"},
            ),
            ("--log-requests", bool, None, "log every request: its path, status, time and id"),
            (
                *("--auto-truncate", bool, None),
                "text-embeddings-inference's routes cut texts that are too long, where requests do not say truncate",
            ),
            (
                *("--default-prompt-name", str, "NAME"),
                "they put this prompt of the model before texts, where requests do not say prompt_name",
            ),
            ("--max-body-bytes", int, "N", "of a request (8388608)", "body_bytes"),
            ("--max-texts", int, "N", "in a request (2048)", "texts"),
            (
                *("--max-waiting-tokens", int, "N"),
                *("refuse requests before which as many would be encoded (262144)", "waiting_tokens"),
            ),
            ("--max-waiting-requests", int, "N", "refuse requests while as many are in work (512)", "waiting_requests"),
            ("--request-seconds", float, "SECONDS", "longest time for a request to take (120)"),
            ("--round-tokens", int, "N", "tokens encoded at once (2048)"),
            ("--stop-seconds", float, "SECONDS", "how long what was taken on may take when stopping (25)"),
        ),
    ),
    Command(
        "evaluate",
        cli_jobs.run_evaluate,
        help="measure what int8 costs on your data",
        description="Score a model's vectors in int8 beside fp32 on datasets: retrieval and reranking (a BEIR folder: "
        "corpus.jsonl, queries.jsonl, qrels/test.tsv), classification (train.csv and test.csv: text,label), similarity "
        "(test.csv: sentence1,sentence2,score); of a cross-encoder, reranking alone, of a sparse model retrieval. "
        "Prints a table, writes evaluation.json and evaluation.png.",
        rows=(
            ("models", str, "MODEL", "an int8 folder, or an fp32 folder or hub id, which is quantized", _MANY),
            _DATASETS,
            ("--against", str, "WHAT", "fp32 (the default), bf16, or the model that an int8 folder was made from"),
            ("--runtime", str, "NAME", _EACH_RUNTIME, {**_MANY, "dest": "runtimes"}),
            ("--precision", str, None, "of what is compared: int8 (the default) or bf16"),
            ("--max-length", int, "TOKENS", "instead of what the model's folder says"),
            ("--allow-torchscript", bool, None, "open int8 models for IPEX from the hub, which are code"),
            *HUB,
            ("--output", Path, "DIR", "where the files go (iqe-evaluation)"),
        ),
    ),
    Command(
        "compare",
        cli_jobs.run_compare,
        help="two encoders side by side on your data",
        description="Compare two encoders on datasets as `iqe evaluate` reads them: scores with intervals, what both "
        "find, cosines, and speed, taking turns. Each is MODEL (a folder or hub id, int8 where it is not quantized), "
        "MODEL@fp32, MODEL@openvino-int8 or another name of `iqe benchmark --systems`, or the address of a server of "
        "OpenAI's /v1/embeddings: http://HOST:PORT/v1 or http://HOST:PORT/v1@MODEL; IQE_API_KEY holds its key. "
        "Prints a table, writes comparison.json and comparison.png.",
        rows=(
            ("a", str, "A", "what is compared with"),
            ("b", str, "B", "what is beside it"),
            _DATASETS,
            ("--max-length", int, "TOKENS", "instead of what the models' folders say"),
            ("--threads", int, "N", "of each; one a core when left out"),
            ("--texts", int, "N", "of the datasets, drawn to measure speed (300)"),
            ("--repeats", int, "N", "turns of each (5)"),
            ("--json", bool, None, "print the JSON instead of the table"),
            "allow_torchscript",
            "cache_folder",
            "local_files_only",
            ("--output", Path, "DIR", "where the files go (iqe-comparison)"),
        ),
    ),
    Command(
        "benchmark",
        cli_jobs.run_benchmark,
        help="measure speed and accuracy on this machine",
        description="Measure a model in every runtime and precision: latency, throughput, a mixed corpus end to end, "
        "and queries. Prints a table, writes benchmark.json and plots.",
        rows=(
            ("model", str, "MODEL", "an fp32 folder or hub id; all-MiniLM-L6-v2 when left out", {"nargs": "?"}),
            ("--int8", Path, "FOLDER", "an int8 folder of it, for systems of its runtime"),
            ("--texts", Path, "FILE", "texts like yours: one a line, or .jsonl with a text each", _MANY),
            ("--output", Path, "DIR", "where everything goes (iqe-benchmark)"),
            ("--systems", str, "NAME", "only these; an unknown name lists them all", _MANY),
            ("--parts", str, "PART", "only these of latency, throughput, corpus, queries, threads", _MANY),
            ("--max-length", int, "TOKENS", "longest text of the corpus (256)"),
            ("--threads", int, "N", "of every system; one a core when left out"),
            ("--repeats", int, "N", "turns of each measurement (5)"),
            ("--corpus-size", int, "N", "texts in the corpus (600)"),
            ("--queries", int, "N", "texts embedded one at a time (1000)"),
            ("--query-rounds", int, "N", "fresh processes of each system for them (3)"),
            ("--lengths", int, "TOKENS", "of the latency part (16 to 512)", _MANY),
            ("--batch-sizes", int, "N", "of the throughput part (1 to 256)", _MANY),
            *HUB,
        ),
    ),
)
