"""The `iqe` command: argument parsing only."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from intel_quantized_embeddings.cli import ingest as cli_ingest
from intel_quantized_embeddings.cli import jobs as cli_jobs
from intel_quantized_embeddings.cli import options as cli_options
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
    """Run what options ask for, and say what went wrong in a line; returns what `main` does."""
    try:
        run: Callable[[argparse.Namespace], int | None] = options.run
        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads, `head` for one, has seen enough. Python would write the rest while it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"iqe: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("iqe: stopped; nothing was left half done.", file=sys.stderr)
        return 130
    return status or 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of every command's options."""
    from intel_quantized_embeddings.version import __version__

    whole = argparse.ArgumentParser(prog="iqe", description="int8 text embeddings on CPUs")
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    quantize = commands.add_parser(
        "quantize",
        help="make an int8 folder of a model",
        description="Quantize a model that makes embeddings, or a cross-encoder, to int8, measure it against fp32 on "
        "texts held out, and write a folder.",
    )
    quantize.add_argument("model", metavar="MODEL", help="a folder or a hub id")
    quantize.add_argument("output", metavar="OUT", help="the folder to write")
    quantize.add_argument(
        "--calibration", metavar="FILE", type=Path, help="documents like yours: one a line, or .jsonl with a text each"
    )
    quantize.add_argument(
        "--calibration-queries", metavar="FILE", type=Path, help="queries like yours, in the same form"
    )
    quantize.add_argument(
        "--runtime",
        help=f"which runtime the folder is for: {listed_choices(RuntimeName)}; {DEFAULT_RUNTIME.value} when left out, "
        "openvino for an export",
    )
    quantize.add_argument(
        "--no-search",
        action="store_true",
        help="of openvino and ipex: take the usual SmoothQuant strength, compare none",
    )
    quantize.add_argument(
        "--no-measure", action="store_true", help="leave out how near int8 is to fp32, which takes most of the time"
    )
    quantize.add_argument("--method", help="of openvino: static, dynamic or qat; native has one: docs/quantization.md")
    quantize.add_argument(
        "--qat-minutes", type=float, metavar="MINUTES", help="how long --method qat may fine-tune the weights (10)"
    )
    quantize.add_argument(
        "--weight-bits",
        type=int,
        metavar="BITS",
        help="of openvino: 8, or 7, as faithful on every CPU; 8 where this CPU is exact with them when left out",
    )
    quantize.add_argument(
        "--max-drop",
        type=float,
        metavar="SHARE",
        help="lose at most this share against fp32 (0.01 is 1 %%): sensitive layers stay in floating point",
    )
    quantize.add_argument(
        "--dataset", metavar="DIR", type=Path, help="measure that on a dataset's score, as `iqe evaluate` reads it"
    )
    quantize.add_argument("--config", metavar="FILE", type=Path, help="settings in YAML: docs/quantization.md")
    cli_options.add_settings(quantize)
    _add_shared_options(quantize)
    quantize.set_defaults(run=cli_jobs.run_quantize)

    export = commands.add_parser(
        "export",
        help="convert a model of any architecture to OpenVINO",
        description="Convert with optimum-intel (the `export` extra) a model whose architecture is not built in.",
    )
    export.add_argument("model", metavar="MODEL", help="a folder or a hub id")
    export.add_argument("output", metavar="OUT", help="the folder to write")
    _add_shared_options(export)
    export.set_defaults(run=cli_jobs.run_export)

    info = commands.add_parser(
        "info",
        help="tell what a folder is",
        description="Show an int8 folder's manifest and check its hashes, or what another model's folder would be used "
        "with. Ends with status 1 where the folder can't be loaded as it is.",
    )
    info.add_argument("model", metavar="FOLDER", help="a folder, or a hub id whose files are on this machine")
    info.add_argument("--json", action="store_true", help="for scripts")
    info.set_defaults(run=cli_jobs.run_info)

    doctor = commands.add_parser(
        "doctor",
        help="tell what a report of a fault should begin with",
        description="Show the CPU, the kernels used, cores, versions, cached models, whether the hub answers, and what "
        "a self-test of the engine gives: its bits beside stored ones, and its speed. Ends with status 1 where the "
        "engine is missing or gives other bits.",
    )
    doctor.add_argument("--no-self-test", action="store_true", help="do not run the engine, which takes ten seconds")
    doctor.add_argument("--json", action="store_true", help="for scripts")
    doctor.set_defaults(run=cli_jobs.run_doctor)

    models = commands.add_parser("models", help="list the architectures that run and the models known by name")
    models.add_argument("--json", action="store_true", help="for scripts")
    models.set_defaults(run=cli_jobs.run_models)

    push = commands.add_parser(
        "push",
        help="upload an int8 folder to the hub",
        description="Check a folder that `iqe quantize` wrote and upload it. The token is that of HF_TOKEN or "
        "`hf auth login`.",
    )
    push.add_argument("folder", metavar="FOLDER", help="an int8 folder")
    push.add_argument("repo_id", metavar="REPO", help="where it goes, OWNER/NAME; made if it is not there")
    push.add_argument("--revision", metavar="BRANCH", help="another branch than main; made if it is not there")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--message", metavar="TEXT", help="the commit's message")
    push.set_defaults(run=cli_jobs.run_push)

    cli_ingest.add_commands(commands)
    _add_serve(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_benchmark(commands)
    return whole


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer OpenAI's /v1/embeddings",
        description="Serve a model over HTTP as OpenAI's /v1/embeddings (the `serve` extra), with /health and "
        "/metrics: docs/serving.md. SIGTERM and Ctrl-C answer what was taken on, then end it.",
    )
    serve.add_argument("model", metavar="MODEL", help="a folder or a hub id")
    serve.add_argument("--name", help="what the model is called in requests (MODEL)")
    serve.add_argument("--host", help="address to listen on (127.0.0.1, which other machines can't reach)")
    serve.add_argument("--port", type=int, help="port to listen on (8000); 0 takes a free one")
    serve.add_argument("--api-key", metavar="KEY", help="ask clients for it; IQE_API_KEY does the same, unseen by `ps`")
    serve.add_argument("--max-body-bytes", type=int, metavar="N", dest="body_bytes", help="of a request (8388608)")
    serve.add_argument("--max-texts", type=int, metavar="N", dest="texts", help="in a request (2048)")
    serve.add_argument(
        "--max-waiting-tokens",
        type=int,
        metavar="N",
        dest="waiting_tokens",
        help="refuse requests before which as many would be encoded (262144)",
    )
    serve.add_argument(
        "--max-waiting-requests",
        type=int,
        metavar="N",
        dest="waiting_requests",
        help="refuse requests while as many are in work (512)",
    )
    serve.add_argument(
        "--request-seconds", type=float, metavar="SECONDS", help="longest time for a request to take (120)"
    )
    serve.add_argument("--round-tokens", type=int, metavar="N", help="tokens encoded at once (2048)")
    serve.add_argument(
        "--stop-seconds", type=float, metavar="SECONDS", help="how long what was taken on may take when stopping (25)"
    )
    cli_options.add_load_options(serve)
    serve.set_defaults(run=cli_jobs.run_serve)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure what int8 costs on your data",
        description="Score a model's vectors in int8 beside fp32 on datasets: retrieval and reranking (a BEIR folder: "
        "corpus.jsonl, queries.jsonl, qrels/test.tsv), classification (train.csv and test.csv: text,label), similarity "
        "(test.csv: sentence1,sentence2,score); of a cross-encoder, reranking alone. Prints a table, writes "
        "evaluation.json and evaluation.png.",
    )
    evaluate.add_argument(
        "models", metavar="MODEL", nargs="+", help="an int8 folder, or an fp32 folder or hub id, which is quantized"
    )
    evaluate.add_argument(
        "--dataset", metavar="DIR", type=Path, nargs="+", required=True, dest="datasets", help="folders of data"
    )
    evaluate.add_argument(
        "--against",
        metavar="WHAT",
        help="fp32 (the default), bf16, or the model that an int8 folder was made from",
    )
    evaluate.add_argument(
        "--runtime",
        metavar="NAME",
        nargs="+",
        dest="runtimes",
        help=f"one or more of {listed_choices(RuntimeName)}; what each model's folder says when left out",
    )
    evaluate.add_argument("--precision", help="of what is compared: int8 (the default) or bf16")
    evaluate.add_argument("--max-length", type=int, metavar="TOKENS", help="instead of what the model's folder says")
    evaluate.add_argument(
        "--allow-torchscript", action="store_true", help="open int8 models for IPEX from the hub, which are code"
    )
    cli_options.add_hub_options(evaluate)
    evaluate.add_argument("--output", metavar="DIR", type=Path, help="where the files go (iqe-evaluation)")
    evaluate.set_defaults(run=cli_jobs.run_evaluate)


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = commands.add_parser(
        "compare",
        help="two encoders side by side on your data",
        description="Compare two encoders on datasets as `iqe evaluate` reads them: scores with intervals, what both "
        "find, cosines, and speed, taking turns. Each is MODEL (a folder or hub id, int8 where it is not quantized), "
        "MODEL@fp32, MODEL@openvino-int8 or another name of `iqe benchmark --systems`, or the address of a server of "
        "OpenAI's /v1/embeddings: http://HOST:PORT/v1 or http://HOST:PORT/v1@MODEL; IQE_API_KEY holds its key. "
        "Prints a table, writes comparison.json and comparison.png.",
    )
    compare.add_argument("a", metavar="A", help="what is compared with")
    compare.add_argument("b", metavar="B", help="what is beside it")
    compare.add_argument(
        "--dataset", metavar="DIR", type=Path, nargs="+", required=True, dest="datasets", help="folders of data"
    )
    compare.add_argument("--max-length", type=int, metavar="TOKENS", help="instead of what the models' folders say")
    compare.add_argument("--threads", type=int, metavar="N", help="of each; one a core when left out")
    compare.add_argument("--texts", type=int, metavar="N", help="of the datasets, drawn to measure speed (300)")
    compare.add_argument("--repeats", type=int, metavar="N", help="turns of each (5)")
    compare.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    cli_options.add_options(compare, "allow_torchscript", "cache_folder", "local_files_only")
    compare.add_argument("--output", metavar="DIR", type=Path, help="where the files go (iqe-comparison)")
    compare.set_defaults(run=cli_jobs.run_compare)


def _add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="measure speed and accuracy on this machine",
        description="Measure a model in every runtime and precision: latency, throughput, a mixed corpus end to end, "
        "and queries. Prints a table, writes benchmark.json and plots.",
    )
    benchmark.add_argument(
        "model", metavar="MODEL", nargs="?", help="an fp32 folder or hub id; all-MiniLM-L6-v2 when left out"
    )
    benchmark.add_argument(
        "--int8", metavar="FOLDER", type=Path, help="an int8 folder of it, for systems of its runtime"
    )
    benchmark.add_argument(
        "--texts", metavar="FILE", type=Path, nargs="+", help="texts like yours: one a line, or .jsonl with a text each"
    )
    benchmark.add_argument("--output", metavar="DIR", type=Path, help="where everything goes (iqe-benchmark)")
    benchmark.add_argument("--systems", metavar="NAME", nargs="+", help="only these; an unknown name lists them all")
    benchmark.add_argument(
        "--parts", metavar="PART", nargs="+", help="only these of latency, throughput, corpus, queries, threads"
    )
    benchmark.add_argument("--max-length", type=int, metavar="TOKENS", help="longest text of the corpus (256)")
    benchmark.add_argument("--threads", type=int, metavar="N", help="of every system; one a core when left out")
    benchmark.add_argument("--repeats", type=int, metavar="N", help="turns of each measurement (5)")
    benchmark.add_argument("--corpus-size", type=int, metavar="N", help="texts in the corpus (600)")
    benchmark.add_argument("--queries", type=int, metavar="N", help="texts embedded one at a time (1000)")
    benchmark.add_argument("--query-rounds", type=int, metavar="N", help="fresh processes of each system for them (3)")
    benchmark.add_argument("--lengths", type=int, metavar="TOKENS", nargs="+", help="of the latency part (16 to 512)")
    benchmark.add_argument("--batch-sizes", type=int, metavar="N", nargs="+", help="of the throughput part (1 to 256)")
    cli_options.add_hub_options(benchmark)
    benchmark.set_defaults(run=cli_jobs.run_benchmark)


def _add_shared_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a model folder written here")
    cli_options.add_hub_options(parser)
