"""Where functions can be run."""
