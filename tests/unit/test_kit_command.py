"""What ``zooaudit kit`` says to people, and commands that it gives them."""

import json
import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.cases import Capture, kit_of
from tests.support.finished import Finished
from zooaudit.cli.kit import _lines
from zooaudit.cli.main import main
from zooaudit.kits.kit import made_by, read_kit


def test_a_kit_is_shown_in_words(finished: Finished, capsys: Capture) -> None:
    """Whoever reads 'accused homologous [2, 4]' thinks that the kit accuses innocents."""
    kit, options = kit_of(finished.store), ["kit", "show", "--store", str(finished.store)]
    capsys.readouterr()
    assert main([*options, "--kit", kit.id]) == 0
    text = capsys.readouterr().out
    counts = kit.meta["facts"]["accused"]
    said = ", ".join(f"{role} {accused} of {of}" for role, (accused, of) in counts.items())
    assert f"paper_accused    by the paper's test, for comparison: {said}\n" in text
    assert "trial            Made by the trial recipe digits: accuse nobody by it.\n" in text
    assert not re.search(r"None|[\[\]{}]|\ntraining|\naccused", text)
    assert "image_shape      1 x 8 x 8\n" in text and "looks            50, 100\n" in text
    assert "cloudleak (soft) 2, cloudleak (hard) 2" in text
    assert main([*options, "--kit", kit.id, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["paper_accused"] == counts and data["trial"] == read_kit(kit).trial and "accused" not in data


def test_kits_are_listed_with_what_they_are_of(finished: Finished, capsys: Capture) -> None:
    kit = kit_of(finished.store)
    capsys.readouterr()
    assert main(["kit", "--store", str(finished.store)]) == 0
    said = (
        f"{kit.id}  recipe digits, data digits, victim {kit.meta['victim']}  (trial: accuse nobody by it)\n"
    )
    assert capsys.readouterr().out == said
    assert (
        made_by(kit) == {"recipe": "digits", "dataset": "digits", "trial": read_kit(kit).trial}
        and read_kit(kit).trial
    )


def test_an_owners_training_is_shown_in_words_too() -> None:
    training = {
        "factory": "a.b:make",
        "function": "a.b:train",
        "command": "",
        "contract": {"classes": ["a", "b"], "scale": None},
    }
    assert _lines({"training": training, "trial": "", "classes": [], "data": None}) == [
        "training         factory a.b:make, function a.b:train, contract (classes a, b)"
    ]


@pytest.mark.parametrize("options", [[], ["--queries", "50"]])
def test_the_command_to_score_with_can_be_run(
    options: list[str], own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    kit = read_kit(kit_of(own_store))
    capsys.readouterr()
    asked = [
        "kit",
        "queries",
        "--store",
        str(own_store),
        "--kit",
        kit_of(own_store).id[:6],
        "--out",
        "q.parquet",
        *options,
    ]
    assert main([*asked, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    program, *command = shlex.split(data["score_with"])
    answers = kit.twin_test.answers[0, : data["queries"]]
    questions = pq.read_table("q.parquet")
    table = questions.select(["query"]).append_column("probabilities", [answers.tolist()])
    pq.write_table(table, command[-1])
    assert program == "zooaudit" and main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == data["queries"]
