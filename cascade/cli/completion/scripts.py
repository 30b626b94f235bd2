"""Scripts that teach shells to complete, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cascade.cli.completion.lines import Line, read_line

_BASH: Final = r"""# Completion of cascade in bash; in ~/.bashrc:  eval "$(cascade completion bash)"
_cascade_complete() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(cascade completion bash --line "${COMP_LINE:0:COMP_POINT}" --word "$2" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _cascade_complete cascade
"""

_ZSH: Final = r"""#compdef cascade
# Completion of cascade in zsh; in ~/.zshrc, after compinit:  eval "$(cascade completion zsh)"
_cascade_complete() {
    local -a found open
    found=("${(@f)$(cascade completion zsh --line "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    found=(${found:#})
    (( $#found )) || { _files; return }
    open=(${(M)found:#*[:/=]})
    found=(${found:#*[:/=]})
    (( $#open )) && compadd -S '' -- $open
    (( $#found )) && compadd -- $found
}
compdef _cascade_complete cascade
"""

_FISH: Final = r"""# Completion of cascade in fish; in ~/.config/fish/config.fish: cascade completion fish | source
function __cascade_complete
    cascade completion fish --line (commandline -cp | string collect) 2>/dev/null
end
complete -c cascade -f -a '(__cascade_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

# Characters that mean something to bash: outside of quotes, and in double ones.
_SPECIAL: Final = frozenset(" \t'\"\\$`&|;<>()[]{}*?!#~^")
_SPECIAL_IN_QUOTES: Final = frozenset('"\\$`')


def answer(shell: str, line: Line, replaced: str, found: Iterable[str]) -> Iterator[str]:
    """What the script of *shell* is told.

    Args:
        shell: The shell. All but bash put quotes around words themselves.
        line: What has been typed.
        replaced: The part of its last word, as it stands there, in whose place the answer is put.
        found: The words that may stand there, which begin as the last word does.
    """
    if shell != "bash":
        yield from found
        return
    stays = read_line(line.raw.removesuffix(replaced), shell)
    for candidate in found:
        rest = _quoted(candidate[len(stays.word) :], stays.quote)
        # In front of a text that begins with the quote which is open, bash takes away that quote.
        yield stays.quote + rest if stays.quote and stays.raw[-1] == rest[:1] == stays.quote else rest


def _quoted(text: str, quote: str) -> str:
    """*text* as bash reads it after *quote*, which stays open; that is empty for none."""
    match quote:
        case "'":
            return text.replace("'", r"'\''")
        case '"':
            escaped = "".join(f"\\{letter}" if letter in _SPECIAL_IN_QUOTES else letter for letter in text)
            return escaped.replace("!", r'"\!"')  # it has to do with the history there, whatever stands before it
        case _:
            return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)
