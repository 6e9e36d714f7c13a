"""The progress bar and the memory meter."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zooaudit.cli.main import main
from zooaudit.cli.terminal import Asides, EventLog, ProgressBar, phase_line, progress_line
from zooaudit.telemetry.events import event_line
from zooaudit.telemetry.memory import MemoryMeter, tree_bytes
from zooaudit.telemetry.phases import Phase, Phases, Tally
from zooaudit.training.work_queue import FarmStatus


def test_line_has_done_rate_and_time_left() -> None:
    assert progress_line(FarmStatus(12, 45, 0, 120.0)).endswith("12/45 models, 6.0 a minute, 6 min left")
    assert progress_line(FarmStatus(45, 45, 2, 60.0)).endswith("45/45 models, 45.0 a minute, 2 failed")
    assert progress_line(FarmStatus(0, 45, 0, 0.0)).endswith("0/45 models")


def test_a_file_gets_few_whole_lines_and_the_end_once() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for done in range(46):
        bar(FarmStatus(done, 45, 0, 1.0 + done))
    bar(FarmStatus(45, 45, 0, 46.0))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "0/45" in lines[0] and "45/45" in lines[1] and "\r" not in stream.getvalue()


def test_an_event_is_one_line_whatever_it_says() -> None:
    line = event_line("error", code=3, rate=5.125, none=None, message='two\nlines, "quoted" = x')
    stamp, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)
    start, _, message = rest.partition(" message=")
    assert start == "event=error code=3 rate=5.125"
    assert json.loads(message) == 'two\nlines, "quoted" = x' and "\n" not in line


def test_a_log_gets_news_signs_of_life_and_the_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    log = EventLog(stream)
    for second in range(200):  # a model every second until 10, then nothing; the last after a while
        now[0] = float(second)
        built = 12 if second > 190 else min(second, 11)
        log.watch(FarmStatus(built, 12, int(built > 1), float(second), ("m",)))  # the second of them failed
    done = re.findall(r"event=models done=(\d+) total=12 failed=(\d)", stream.getvalue())
    assert done == [("0", "0"), ("2", "1"), ("7", "1"), ("11", "1"), ("11", "1"), ("11", "1"), ("12", "1")]
    assert stream.getvalue().splitlines()[-1].endswith("per_minute=3.8 left_s=0")


def test_what_others_print_is_an_event_too() -> None:
    stream = io.StringIO()
    print("a node died\nits log:\n...", file=Asides(EventLog(stream)))
    assert stream.getvalue().count("\n") == 1 and 'event=aside message="a node died"' in stream.getvalue()


def test_bad_input_is_an_event_with_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--recipe", "nothing", "--log", "events", "--store", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "event=error code=2 message=" in err


@pytest.mark.parametrize("job", ["audit", "zoo", "score"])
def test_a_job_outside_ray_says_how_to_submit_it(job: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    run = subprocess.run(
        [sys.executable, f"jobs/{job}.py"], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 2 and run.stderr.count("\n") == 1 and "ray job submit" in run.stderr


def test_memory_of_children_is_counted() -> None:
    hog = "import sys; held = b'x' * 200_000_000; print('ready', flush=True); sys.stdin.read()"
    with MemoryMeter() as meter:
        child = subprocess.Popen(
            [sys.executable, "-c", hog], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        assert tree_bytes(child.pid) > 200e6
    child.communicate("")
    assert meter.peak_bytes > 200e6
    assert tree_bytes(child.pid) == 0


def test_each_phase_after_the_zoo_has_a_line_and_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, output = [100.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    phases = Phases(("perturbation", "answers"), lambda phase: output.append(phase_line(phase)))
    phases.begin("perturbation")
    tally = Tally(phases.begin("answers"), 60)
    part = tally.part(20)
    part(0, 10)  # ten were there already
    now[0] += 5
    part(10, 10)
    rest = tally.part(40)
    now[0] += 20
    rest(40, 40)
    assert output == [
        "1 of 2: perturbation",
        "2 of 2: answers",
        "2 of 2: answers [####....................] 10/60",
        "2 of 2: answers [########................] 20/60, 20 s left",
        "2 of 2: answers [########################] 60/60",
    ]


def test_a_log_says_each_phase_when_it_begins_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, stream = [100.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = EventLog(stream)
    for done in range(8):
        now[0] += 2.0
        log.step(Phase("answers", 2, 5, done, 8, 4.0))
    log.step(Phase("encoder and verdicts", 5, 5))
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert lines == [
        "event=working phase=answers number=2 of=5 done=0 total=8 left_s=4",
        "event=working phase=answers number=2 of=5 done=3 total=8 left_s=4",
        "event=working phase=answers number=2 of=5 done=6 total=8 left_s=4",
        'event=working phase="encoder and verdicts" number=5 of=5',
    ]
