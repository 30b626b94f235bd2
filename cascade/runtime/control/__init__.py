"""Rules that stand, and the way to other processes that set them and watch."""
