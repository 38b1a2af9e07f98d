package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Example:

    entrepot completion bash > ~/.local/share/bash-completion/completions/entrepot
`
}

func (c completionCmd) Run(p *process, k *kong.Context) error {
	words := completionWords(k.Model.Node)
	write := map[string]func(*strings.Builder, []choice){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	var b strings.Builder
	write(&b, words)
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

// choice is what can follow one command: sub-commands and flags.
type choice struct {
	path  string // "", "key", "key new"
	words []word
	files bool // file names can follow as well
}

type word struct{ text, help string }

// completionWords lists the choices of every command of the model.
func completionWords(n *kong.Node) []choice {
	c := choice{path: n.Path(), files: len(n.Positional) > 0}
	for _, child := range n.Children {
		if !child.Hidden {
			c.words = append(c.words, word{child.Name, child.Help})
		}
	}
	for _, arg := range n.Positional {
		for _, value := range arg.EnumSlice() {
			if value != "" {
				c.words = append(c.words, word{value, arg.Help})
			}
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			c.words = append(c.words, word{"--" + flag.Name, flag.Help})
		}
	}
	all := []choice{c}
	for _, child := range n.Children {
		all = append(all, completionWords(child)...)
	}
	return all
}

func bashCompletion(b *strings.Builder, choices []choice) {
	b.WriteString("# bash completion of entrepot\n_entrepot() {\n" +
		"  local current=${COMP_WORDS[COMP_CWORD]} at= word i\n" +
		"  for ((i = 1; i < COMP_CWORD; i++)); do\n    word=${COMP_WORDS[i]}\n" +
		"    case \"${at:+$at }$word\" in\n")
	fmt.Fprintf(b, "      %s) at=${at:+$at }$word ;;\n    esac\n  done\n  case $at in\n", strings.Join(paths(choices), "|"))
	for _, c := range choices {
		fmt.Fprintf(b, "    '%s') COMPREPLY=($(compgen -W '%s' -- \"$current\")) ;;\n", c.path, strings.Join(texts(c), " "))
	}
	b.WriteString("  esac\n}\ncomplete -o default -F _entrepot entrepot\n")
}

func zshCompletion(b *strings.Builder, choices []choice) {
	b.WriteString("#compdef entrepot\n# zsh completion of entrepot\n_entrepot() {\n" +
		"  local at= word i\n  local -a choices\n" +
		"  for ((i = 2; i < CURRENT; i++)); do\n    word=${words[i]}\n" +
		"    case \"${at:+$at }$word\" in\n")
	fmt.Fprintf(b, "      %s) at=\"${at:+$at }$word\" ;;\n    esac\n  done\n  case $at in\n", strings.Join(paths(choices), "|"))
	for _, c := range choices {
		fmt.Fprintf(b, "    '%s')\n      choices=(\n", c.path)
		for _, w := range c.words {
			fmt.Fprintf(b, "        %s\n", shellQuote(strings.ReplaceAll(w.text, ":", `\:`)+":"+w.help))
		}
		b.WriteString("      )\n      _describe entrepot choices\n")
		if c.files {
			b.WriteString("      _files\n")
		}
		b.WriteString("      ;;\n")
	}
	b.WriteString("  esac\n}\nif [ \"$funcstack[1]\" = _entrepot ]; then _entrepot \"$@\"; else compdef _entrepot entrepot; fi\n")
}

func fishCompletion(b *strings.Builder, choices []choice) {
	b.WriteString("# fish completion of entrepot\n" +
		"function __entrepot_path\n  set -l at\n" +
		"  for word in (commandline -opc)[2..-1]\n    set -l next (string join ' ' $at $word)\n")
	fmt.Fprintf(b, "    if contains -- \"$next\" %s\n      set at $at $word\n    end\n  end\n  string join ' ' $at\nend\n", quotedPaths(choices))
	for _, c := range choices {
		for _, w := range c.words {
			name, isFlag := strings.CutPrefix(w.text, "--")
			option := "-a " + shellQuote(w.text)
			if isFlag {
				option = "-l " + shellQuote(name)
			}
			fmt.Fprintf(b, "complete -c entrepot -n 'test (__entrepot_path) = \"%s\"' %s -d %s\n", c.path, option, shellQuote(w.help))
		}
	}
}

// paths returns the quoted paths of all commands but the root.
func paths(choices []choice) []string {
	var all []string
	for _, c := range choices {
		if c.path != "" {
			all = append(all, "'"+c.path+"'")
		}
	}
	return all
}

func quotedPaths(choices []choice) string { return strings.Join(paths(choices), " ") }

func texts(c choice) []string {
	all := make([]string, len(c.words))
	for i, w := range c.words {
		all[i] = w.text
	}
	return slices.Compact(all)
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
