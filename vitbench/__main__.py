"""`python -m vitbench` is the command `vitbench`."""

import sys

from vitbench.cli import main

sys.exit(main())
