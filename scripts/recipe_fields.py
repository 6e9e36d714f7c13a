"""Put the table of all fields of a recipe into docs/recipes.md; with --check only say
whether it is there as it should be."""

import sys
from pathlib import Path

from zooaudit.recipes.table import fields_table

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
BEGIN, END = "<!-- table: fields -->\n", "<!-- end -->"


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    made = before + BEGIN + fields_table() + END + rest.partition(END)[2]
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if made != text:
        print(
            "docs/recipes.md: the table of fields is not that of zooaudit/config; run python"
            " scripts/recipe_fields.py",
            file=sys.stderr,
        )
    return int(made != text)


if __name__ == "__main__":
    sys.exit(main())
