"""The progress bar and the memory meter."""

import io
import subprocess
import sys

from zooaudit.console import ProgressBar, progress_line
from zooaudit.meter import MemoryMeter, tree_bytes
from zooaudit.workqueue import FarmStatus


def test_line_has_done_rate_and_time_left() -> None:
    assert progress_line(FarmStatus(12, 45, 0, 120.0)).endswith("12/45 models, 6.0 a minute, 6 min left")
    assert progress_line(FarmStatus(45, 45, 2, 60.0)).endswith("45/45 models, 45.0 a minute, done in 60 s, 2 failed")
    assert progress_line(FarmStatus(0, 45, 0, 0.0)).endswith("0/45 models")


def test_a_file_gets_few_whole_lines_and_the_end_once() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for done in range(46):
        bar(FarmStatus(done, 45, 0, 1.0 + done))
    bar(FarmStatus(45, 45, 0, 46.0))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "0/45" in lines[0] and "45/45" in lines[1] and "\r" not in stream.getvalue()


def test_memory_of_children_is_counted() -> None:
    hog = "import sys; held = b'x' * 200_000_000; print('ready', flush=True); sys.stdin.read()"
    with MemoryMeter() as meter:
        child = subprocess.Popen([sys.executable, "-c", hog], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        assert tree_bytes(child.pid) > 200e6
    child.communicate("")
    assert meter.peak_bytes > 200e6
    assert tree_bytes(child.pid) == 0
