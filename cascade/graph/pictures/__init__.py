"""Pictures of a graph: ``sketch`` decides what is shown, ``layered`` where it stands, ``svg`` how it looks."""
