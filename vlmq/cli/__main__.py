"""`python -m vlmq.cli`, for where the program `vlmq` is not on the path."""

import sys

from vlmq.cli import main

sys.exit(main())
