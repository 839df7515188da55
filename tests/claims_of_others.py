"""Another process that has claimed a run, for the tests of what is refused meanwhile."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys
from sampler import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_process_claims(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == "claimed\n"
        yield child
        if child.poll() is None:
            child.stdin.close()
