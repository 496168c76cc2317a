"""Input, model, losses, training loop and export."""
