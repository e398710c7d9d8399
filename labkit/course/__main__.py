"""``python -m labkit.course`` is ``labkit``, for where the script is not on the path."""

import sys

from labkit.course.cli import main

sys.exit(main())
