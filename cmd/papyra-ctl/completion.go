package main

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
)

func (t *tool) completionCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "completion",
		Usage:     "Print the script that lets a shell complete commands and flags",
		ArgsUsage: "bash|zsh",
		Description: `Example:
   papyra-ctl completion bash > /etc/bash_completion.d/papyra-ctl
   source <(papyra-ctl completion zsh)`,
		Action: func(c *urfave.Context) error {
			script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion}[c.Args().First()]
			if script == "" || c.NArg() != 1 {
				return fmt.Errorf("%w: name one shell: bash or zsh", papyra.ErrUsage)
			}
			if _, err := fmt.Fprint(c.App.Writer, script); err != nil {
				return outputError(err)
			}
			return nil
		},
	}
}

// Both ask the tool itself, which answers with a name on each line.
const (
	bashCompletion = `# bash completion for papyra-ctl
_papyra_ctl() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $cur == -* ]] && words+=("$cur")
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o default -F _papyra_ctl papyra-ctl
`
	zshCompletion = `#compdef papyra-ctl
_papyra_ctl() {
	local -a words_so_far replies
	words_so_far=("${(@)words[1,CURRENT-1]}")
	[[ ${words[CURRENT]} == -* ]] && words_so_far+=("${words[CURRENT]}")
	replies=("${(@f)$("${words_so_far[@]}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n ${replies[1]} ]]; then
		compadd -a replies
	else
		_files
	fi
}
# Read from a folder of functions, this file is the body of one; sourced, it is not.
if [[ ${funcstack[1]} == _papyra-ctl ]]; then
	_papyra_ctl "$@"
else
	compdef _papyra_ctl papyra-ctl
fi
`
)
