"""In which order a graph can be run: pure functions from graph to plan, and previews made of them."""
