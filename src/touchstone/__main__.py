"""`python -m touchstone` is the touchstone command."""

import sys

from touchstone.cli import main

sys.exit(main())
