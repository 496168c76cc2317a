"""Jinja templates and the style sheet of the pages; a package, to be installed."""
