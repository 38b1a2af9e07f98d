package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// cli is the command line: every command that exists, in the order of the help.
type cli struct {
	Serve       serveCmd        `cmd:"" help:"Run the registry in the foreground."`
	Init        initCmd         `cmd:"" help:"Write a configuration file, make the operator key, begin the operator log."`
	CheckConfig checkConfigCmd  `cmd:"" help:"Validate the configuration without starting."`
	Key         keyCmd          `cmd:"" help:"Make and show keys."`
	Namespace   namespaceCmd    `cmd:"" help:"Define, import and list namespaces."`
	Operator    operatorCmd     `cmd:"" help:"Change the keys that act for this registry."`
	Publish     publishCmd      `cmd:"" help:"Release a version of a package."`
	Yank        yankCmd         `cmd:"" help:"Withdraw a version, for good."`
	Grant       grantCmd        `cmd:"" help:"Let another key publish to a package."`
	Revoke      revokeCmd       `cmd:"" help:"Take permissions from a key of a package."`
	Download    downloadCmd     `cmd:"" help:"Download a release, with everything about it verified."`
	Info        infoCmd         `cmd:"" help:"Show the releases of a package and who may publish."`
	Packages    packagesCmd     `cmd:"" help:"List the packages of a registry."`
	Mirror      mirrorCmd       `cmd:"" help:"Fill replicas of upstream registries, and show what is held."`
	Archive     archiveCmd      `cmd:"" help:"Carry verified registries to sites without network."`
	Audit       auditCmd        `cmd:"" help:"Check the log of what was decided."`
	Doctor      doctorCmd       `cmd:"" help:"Look at a data directory, and say what is wrong and what to do."`
	Fsck        fsckCmd         `cmd:"" help:"Read everything in a data directory and say what is damaged."`
	Rebuild     rebuildIndexCmd `cmd:"" name:"rebuild-index" help:"Make the index of our own registry again."`
	Backup      backupCmd       `cmd:"" help:"Copy a registry to another place, also while it is used."`
	Restore     restoreCmd      `cmd:"" help:"Bring a backup back; it signs nothing until you say so."`
	Freeze      freezeCmd       `cmd:"" help:"End this registry for good: it is read for ever and never signs again."`
	Recover     recoverCmd      `cmd:"" help:"Bring a fenced registry back: from a peer, or on your word."`
	Monitor     monitorCmd      `cmd:"" help:"Watch registries and prove them wrong where they are."`
	Version     versionCmd      `cmd:"" help:"Show version, protocol and build."`
	Completion  completionCmd   `cmd:"" help:"Print a completion script for bash, zsh or fish."`

	Help helpFlag `short:"h" help:"Show help and an example."`
}

// helpFlag prints the help of the command that it follows and ends there.
type helpFlag bool

// errHelped ends parsing after help was printed. It is no failure.
var errHelped = errors.New("help was printed")

func (helpFlag) BeforeReset(k *kong.Context) error {
	if err := k.PrintUsage(false); err != nil {
		return err
	}
	return errHelped
}

// IgnoreDefault keeps required arguments from mattering when help is asked for.
func (helpFlag) IgnoreDefault() {}

// configFlag is part of every command that needs the server's configuration.
type configFlag struct {
	Config string `placeholder:"FILE" help:"Configuration file. Default: entrepot.toml in the working folder, if it is there."`
}

// jsonFlag is part of every command that prints data.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func newParser(c *cli, p *process) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("entrepot"),
		kong.Description("A registry for WebAssembly packages that answers on behalf of other registries."),
		kong.NoDefaultHelp(),
		kong.Writers(p.stdout, p.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
}

// run executes one command line and returns the exit code. Errors are one line on
// standard error; what follows it is evidence or a list of complaints.
func run(ctx context.Context, args []string, p *process) int {
	err := execute(ctx, args, p)
	if err == nil || errors.Is(err, errHelped) {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = exitf(exitTemporary, "interrupted")
	}
	var settings *config.Error
	if errors.As(err, &settings) {
		fmt.Fprintln(p.stderr, settings) // file:line:column first, where editors look
	} else {
		fmt.Fprintf(p.stderr, "entrepot: %s\n", strings.ReplaceAll(withCause(err), "\n", "; "))
		_, _ = p.stderr.Write(upstream.EvidenceOf(err)) // usually none
	}
	return exitCode(err)
}

// withCause returns an error in one piece. What an answer of the protocol keeps to
// itself, because it is for the log of a server, is for the eyes of the person who
// runs a command: why a registry cannot be reached, above all.
func withCause(err error) string {
	text := err.Error()
	var answer *warg.Error
	if !errors.As(err, &answer) || answer.Err == nil {
		return text
	}
	cause := answer.Err
	var exchange *url.Error
	if errors.As(cause, &exchange) {
		cause = exchange.Err // without method and address, which stand in the text
	}
	if strings.Contains(text, cause.Error()) {
		return text
	}
	return text + ": " + cause.Error()
}

func execute(ctx context.Context, args []string, p *process) error {
	var c cli
	parser, err := newParser(&c, p)
	if err != nil {
		return fmt.Errorf("describing the command line: %w", err)
	}
	if len(args) == 0 {
		parser.Stdout = p.stderr
		_, _ = parser.Parse([]string{"--help"})
		return exitf(exitUsage, "say which command to run")
	}
	k, err := parser.Parse(args)
	if err != nil {
		return usageError(err)
	}
	k.BindTo(ctx, (*context.Context)(nil))
	p.command = k.Selected().Path()
	return k.Run(p, k)
}

// usageError turns a complaint of the parser into one that says where help is.
func usageError(err error) error {
	if errors.Is(err, errHelped) {
		return err
	}
	command := "entrepot"
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if node := wrong.Context.Selected(); node != nil {
			command = node.FullPath()
		}
	}
	return exitf(exitUsage, "%w; see `%s --help`", err, command)
}
