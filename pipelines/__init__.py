"""The jobs a user runs, and the command line that starts them."""

import reviewbeam.components  # noqa: F401  (the processor guard, before all else)
