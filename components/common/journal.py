"""What people were told, and the log that keeps it."""

import logging

# Of its own, since what goes up to the root may be printed once more.
told = logging.getLogger("reviewbeam.told")
told.propagate = False
told.setLevel(logging.INFO)


# How a log begins, and its names end: what has both is no file of reviews.
LOG_HEAD = "# reviewbeam "
LOG_ENDINGS = (".log", ".log.1")


def keep(text: str) -> None:
    """Hands on a line that was shown, without anything of a review in it."""
    told.info("%s", text)
