"""A recipe for which one twin is trained beforehand."""

import json
import re
from pathlib import Path

import pytest

from tests.support import owners
from tests.support.owner_recipes import OWN, Capture, new
from zooaudit.cli.main import main


@pytest.mark.processes
def test_a_twin_is_tried_where_asked(own_weights: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    assert main([*new(file, "--victim", str(own_weights), *OWN), "--try", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["victim"]["twin_seconds"] > 0 and found["victim"]["twin_accuracy"] == pytest.approx(
        found["victim"]["accuracy"], abs=0.05
    )
    text = file.read_text()
    assert "650 parameters" in text and re.search(r"one took \d+\.\d s here, so all take\s(# )?about", text)
    assert "is this really the procedure that trained the victim" not in text.replace("\n# ", " ")
    assert (
        main(
            [
                *new(tmp_path / "b.toml", "--victim", str(own_weights), "--factory", owners.FACTORY),
                "--train",
                "tests.support.owners:forgetful",
                "--try",
            ]
        )
        == 0
    )
    assert "is this really the procedure that trained the victim" in capsys.readouterr().out
    assert (
        main(
            [
                *new(tmp_path / "c.toml", "--victim", str(own_weights), "--factory", owners.FACTORY),
                "--train",
                "tests.support.owners:fails",
                "--try",
            ]
        )
        == 2
    )
    assert (
        "--try: the training procedure gave no twin: ValueError: the learning rate is odd"
        in capsys.readouterr().err
    )
