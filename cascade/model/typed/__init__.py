"""From text and plain data to values of declared types, and what to say where that fails.

A declared type is called a *kind*. ``convert`` goes from text, or from a value, to a value of the kind; ``kinds``
tells which sort of kind it is; ``words`` says what messages and ``--help`` call it; ``written`` goes back to
text. cattrs builds records, and pydantic, where it is installed, its own types; both are imported when the first
such input is converted. Collections, unions and single values are checked by code of ours: cattrs converts where
a check is wanted (``int("3")``, or the letters of a word as a list).
"""
