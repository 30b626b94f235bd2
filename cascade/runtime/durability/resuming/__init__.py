"""What becomes of an earlier execution of a run: what is recorded holds, has changed, or is decided anew."""
