"""``answers_sha256``: whoever has a file of answers can compute it, by what the page of a
verdict and docs/answers.md say."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import Capture, kit_of
from tests.support.places import ROOT
from zooaudit.cli.main import main
from zooaudit.kits.kit import load_kit
from zooaudit.reporting.explained_page import DIGEST_OF_CSV
from zooaudit.storage.opening import open_store

DOC = (ROOT / "docs" / "answers.md").read_text()
EXAMPLES = [block.replace("\n\n", "\n") for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)]


def test_there_is_one_of_three_lines_for_either_format() -> None:
    assert [len(e.splitlines()) for e in EXAMPLES] == [3, 3] and EXAMPLES[0] == DIGEST_OF_CSV


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["as float64", "as float32"])
def test_the_digest_of_a_file_is_that_of_the_verdict_on_it(
    ending: str, kind: str, case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    kit = load_kit(open_store(str(case_store)), kit_of(case_store).id)
    exact = np.random.default_rng(3).dirichlet(np.ones(10), size=len(kit.twin_test.images))
    answers = exact if kind == "as float64" else exact.astype(np.float32).astype(float)
    write(Path(f"answers.{ending}"), answers.tolist())
    capsys.readouterr()
    assert (
        main(
            [
                "score",
                "--store",
                str(case_store),
                "--kit",
                kit_of(case_store).id,
                "--answers",
                f"answers.{ending}",
                "--json",
            ]
        )
        == 0
    )
    evidence = json.loads(capsys.readouterr().out)["evidence"]
    assert main(["explain", evidence, "--store", str(case_store), "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    code = EXAMPLES[ending == "parquet"]
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == f"{data['answers_sha256']}\n"


def write(path: Path, rows: list[list[float]]) -> None:
    if path.suffix == ".parquet":
        order = list(reversed(range(len(rows))))
        pq.write_table(pa.table({"query": order, "probabilities": [rows[i] for i in order]}), path)
        return
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["query", "probabilities"])
        table.writerows([i, json.dumps(row)] for i, row in enumerate(rows))
