"""Files of any format to record batches of reviews."""
