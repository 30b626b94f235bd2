"""What a flow means: from lazies to a graph over integer indices."""
