"""From a function to its calls: the decorator, and what it and calls are checked against."""
