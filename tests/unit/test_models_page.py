"""docs/models.md says what is so: its commands parse, its contracts are contracts, its
table has every field."""

import re
import shlex
import tomllib
from dataclasses import fields

from tests.support.places import ROOT
from zooaudit.cli.main import make_parser
from zooaudit.suspects.contract import Classes, Input, Output
from zooaudit.suspects.contract_files import contract_of, read_contract

PAGE = (ROOT / "docs" / "models.md").read_text()


def test_commands_parse_and_their_contracts_are_read() -> None:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        args = make_parser().parse_args(shlex.split(line, comments=True)[1:])
        if getattr(args, "contract", None) and args.contract != ["imagenet.toml"]:
            assert read_contract(args.contract).to_json()


def test_examples_are_contracts() -> None:
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
    assert len(blocks) == 2
    for block in blocks:
        assert contract_of({k: v for k, v in block.items() if k != "file"}).to_json()


def test_the_table_has_every_field() -> None:
    result = set(re.findall(r"`((?:input|output|classes)\.\w+)`", PAGE))
    assert {
        f"{name}.{f.name}"
        for name, of in (("input", Input), ("output", Output), ("classes", Classes))
        for f in fields(of)
    } <= result
