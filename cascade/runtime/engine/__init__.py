"""A run from outside: what runs share, the handle that users hold, what URLs stand for."""
