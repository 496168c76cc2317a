"""What people were told, for whoever keeps it."""

import logging

# Of its own, since what goes up to the root may be printed once more.
told = logging.getLogger("reviewbeam.told")
told.propagate = False
told.setLevel(logging.INFO)


def keep(text: str) -> None:
    """Hands on a line that was shown, without anything of a review in it."""
    told.info("%s", text)
