"""Scripts that teach shells to complete, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cascade.cli.completion.lines import is_quoted, last_word

_BASH: Final = r"""# Completion of cascade in bash; in ~/.bashrc:  eval "$(cascade completion bash)"
_cascade_complete() {
    local IFS=$'\n'
    COMPREPLY=($(cascade completion bash --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
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

# Characters at which bash begins a new word, though the program does not.
_BREAKS: Final = ":="
# Characters that mean something to bash: words with them need quotes, which bash does not add itself.
_SPECIAL: Final = frozenset(" \t'\"\\$`&|;<>()[]{}*?!#~")


def answer(shell: str, line: str, found: Iterable[str]) -> Iterator[str]:
    """What the script of *shell* is told, so that it replaces what the shell takes for the last word of *line*."""
    word, special = last_word(line), frozenset[str]() if is_quoted(line) else _SPECIAL
    for candidate in found:
        if shell != "bash":
            yield candidate
            continue
        # bash replaces what follows the last break only.
        cut = max(map(word.rfind, _BREAKS)) + 1
        rest = candidate[cut:]
        yield "".join(f"\\{letter}" if letter in special else letter for letter in rest)
