"""What every other component shares: configs, errors, columns, artifacts."""
