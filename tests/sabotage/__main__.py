"""`python -m tests.sabotage [words] [--json]`: exit 1 if a known-bad variant is not caught."""

import sys

from tests.sabotage.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
