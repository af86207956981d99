"""``python -m bufcache`` is the command line."""

import sys

from bufcache.cli import main

sys.exit(main())
