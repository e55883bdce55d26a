"""`make docs`: python -m maml_core.docs."""

import sys

from .filling import main

if __name__ == "__main__":
    sys.exit(main())
