"""The jobs a user runs, and the command line that starts them."""
