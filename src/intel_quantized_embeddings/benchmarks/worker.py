"""A process for each system, so that threads, memory and settings of one library don't affect others' figures."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from intel_quantized_embeddings.benchmarks.arithmetic import measure_int8_peak
from intel_quantized_embeddings.benchmarks.loaded import Job, LoadedSystem
from intel_quantized_embeddings.benchmarks.parts import SystemFailedError
from intel_quantized_embeddings.benchmarks.timing import timed_calls, wait_until_quiet
from intel_quantized_embeddings.errors import one_line
from intel_quantized_embeddings.process.cores import affinity
from intel_quantized_embeddings.process.quiet import environment


class Worker:
    """One system in a process of its own, held to as many cores as it has threads. Use it as a context."""

    def __init__(self, job: Job) -> None:
        self._log = job.log
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, job), daemon=True)
        # Libraries read these when they are imported: threads of tokenizers, and no requests to the hub.
        with environment(RAYON_NUM_THREADS=str(job.num_threads), HF_HUB_OFFLINE="1"):
            self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ask(self, command: str, *arguments: object) -> Any:
        """Have a command of `_Serving` done and wait for its result.

        Raises:
            SystemFailedError: The command raised an error, or the process ended.
        """
        try:
            self._connection.send((command, arguments))
            done, value = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as exc:
            self._process.join(5)
            raise SystemFailedError(
                f"its process ended with code {self._process.exitcode}; what it said last is in {self._log}."
            ) from exc
        if not done:
            raise SystemFailedError(value)
        return value


class _Serving:
    """The commands of a worker. Runs in its process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._loaded: LoadedSystem  # after `load`

    def prepare(self) -> None:
        """Make the files that the system needs."""
        if self._job.prepare is not None:
            self._job.prepare()

    def load(self) -> tuple[float, dict[str, str]]:
        """Import and load; return the seconds of that, and the system's options."""
        started = time.perf_counter()
        self._loaded = self._job.load()
        return time.perf_counter() - started, self._loaded.given

    def encode(self, texts: list[str], batch_size: int) -> Any:
        """Encode texts. Shape: (n_texts, dimension), float32; SciPy's if the vectors are sparse."""
        vectors = self._loaded.rows(self._loaded.encode(texts, batch_size))
        wait_until_quiet(time.process_time, time.sleep)
        return vectors

    def time_encode(self, texts: list[str], batch_size: int, calls: int, lead_in: int) -> tuple[float, ...]:
        """Return the seconds of each call."""
        encode = self._loaded.encode
        seconds = timed_calls(lambda: encode(texts, batch_size), clock=time.perf_counter, calls=calls, lead_in=lead_in)
        wait_until_quiet(time.process_time, time.sleep)
        return seconds

    def time_queries(self, texts: list[str]) -> tuple[list[float], Any]:
        """Embed texts one by one, without a first one that is not counted; return milliseconds of each, and vectors."""
        embed, vectors, milliseconds = self._loaded.embed_query, [], []
        for text in texts:
            started = time.perf_counter()
            vector = embed(text)
            milliseconds.append((time.perf_counter() - started) * 1e3)
            vectors.append(vector)
        wait_until_quiet(time.process_time, time.sleep)
        return milliseconds, self._loaded.rows(vectors)

    def time_threads(self, texts: list[str], threads: int) -> float:
        """Time several threads that embed texts one at a time through one object, in seconds."""
        embed = self._loaded.embed_query
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(embed, texts[: 4 * threads]))  # starts the threads
            started = time.perf_counter()
            list(pool.map(embed, texts))
            seconds = time.perf_counter() - started
        wait_until_quiet(time.process_time, time.sleep)
        return seconds

    def measure_int8_peak(self) -> float:
        """See `arithmetic.measure_int8_peak`."""
        return measure_int8_peak(num_threads=self._job.num_threads)


def _serve(connection: Connection, job: Job) -> None:
    """Answer until the other end is closed."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, affinity()[: job.num_threads])
    serving = _Serving(job)
    while True:
        try:
            command, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        connection.send(_answer(getattr(serving, command), arguments))


def _answer(command: Callable[..., Any], arguments: Sequence[object]) -> tuple[bool, Any]:
    try:
        return True, command(*arguments)
    except Exception as exc:  # noqa: BLE001 - whatever another library raises is what the report says of it
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        return False, f"{type(exc).__name__}: {one_line(exc)}"
