"""Reads a command line that is not finished."""

from __future__ import annotations


def words_of(line: str) -> list[str]:
    """The words of *line*, without quotes; the last one is what is being typed, and may be empty."""
    return _read(line)[0]


def is_quoted(line: str) -> bool:
    """Whether the word that is being typed is in quotes that are not closed."""
    return bool(_read(line)[1])


def _read(line: str) -> tuple[list[str], str]:
    """The words, and the quote that is open at the end."""
    words, word, quote, is_begun = [], "", "", False
    letters = iter(line)
    for letter in letters:
        match letter:
            case "\\" if quote != "'":
                word, is_begun = word + next(letters, ""), True
            case _ if quote:
                quote = "" if letter == quote else quote
                word += letter if quote else ""
            case "'" | '"':
                quote, is_begun = letter, True
            case _ if letter.isspace():
                if is_begun:
                    words.append(word)
                word, is_begun = "", False
            case _:
                word, is_begun = word + letter, True
    return [*words, word], quote


def last_word(line: str) -> str:
    """The word that is being typed."""
    return words_of(line)[-1]
