"""Whether the tokenizers library can use threads in this process, or would wait for those of the one that forked it.

The library starts its threads when somebody first tokenizes several texts at once, and nothing of it tells whether they
were. So one call is tried where hanging does no harm.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError

# What the library takes for "no"; anything else in TOKENIZERS_PARALLELISM is a yes.
_NO_THREADS = ("", "off", "false", "f", "no", "n", "0")

# Threads that are there answer in a millisecond. Where the machine is that busy, new ones have been started by then.
_PATIENCE_SECONDS = 0.3
_LONGEST_WAIT_SECONDS = 10.0

# Processes in which the threads were seen to work; a forked one starts with its parent's.
_fine_in: set[int] = set()


def refuse_lost_threads() -> None:
    """Check that the threads which tokenizing was told to use are of this process.

    Raises:
        OptionError: TOKENIZERS_PARALLELISM asks for threads, and they are those of another.
    """
    told = os.environ.get("TOKENIZERS_PARALLELISM", "")
    if told.lower() in _NO_THREADS or os.getpid() in _fine_in:
        return
    if not _threads_work():
        raise OptionError(
            f"TOKENIZERS_PARALLELISM={told!r} asks for threads that did not come along into this forked process: "
            f"tokenizing would wait for them for ever. Unset it, or start processes by spawning."
        )
    _fine_in.add(os.getpid())


def _threads_work() -> bool:
    """Return whether a call that uses threads comes back. Where it does not, a thread waits till the process ends."""
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    before, begun = _threads(), threading.Event()

    def call() -> None:
        begun.set()
        tokenizer.encode_batch(["a"] * 64)

    trial = threading.Thread(target=call, name="tokenizers", daemon=True)
    trial.start()
    begun.wait()
    trial.join(_PATIENCE_SECONDS)
    if trial.is_alive() and _threads() - before > 1:  # beside the trial's own: the library's
        trial.join(_LONGEST_WAIT_SECONDS)
    return not trial.is_alive()


def _threads() -> int:
    """Return the number of threads of this process, of any library; 0 where the system does not say."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0
