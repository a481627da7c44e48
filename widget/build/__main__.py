"""``python -m widget.build``."""

import sys

from widget.build.bundle import main

sys.exit(main())
