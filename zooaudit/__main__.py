"""``python -m zooaudit``: the command line."""

import sys

from zooaudit.cli import main

sys.exit(main())
