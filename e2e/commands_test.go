//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// command is one word of the scripts.
type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands is the vocabulary of the scripts beyond testscript's own.
func commands() map[string]command {
	return map[string]command{
		"serve":    cmdServe,
		"upstream": cmdUpstream,
		"halt":     cmdHalt,
		"kill9":    cmdKill9,
		"client":   cmdClient,
		"as":       cmdAs,
		"begin":    cmdBegin,
		"finish":   cmdFinish,
		"tap":      cmdTap,
		"fault":    cmdFault,
		"held":     cmdHeld,
		"proxy":    cmdProxy,
		"front":    cmdFront,
		"asked":    cmdAsked,
		"tty":      cmdTTY,
		"within":   cmdWithin,
		"exits":    cmdExits,
		"capture":  cmdCapture,
		"expand":   cmdExpand,
		"same":     cmdSame,
		"json":     cmdJSON,
		"http":     cmdHTTP,
		"logid":    cmdLogID,
		"digest":   cmdDigest,
	}
}

// flags parses the options in front of a command's words, and wants at least min words.
func flags(ts *testscript.TestScript, neg bool, args []string, usage string, least int, define func(*flag.FlagSet)) []string {
	set := flag.NewFlagSet(usage, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	if define != nil {
		define(set)
	}
	if err := set.Parse(args); err != nil || neg || set.NArg() < least {
		ts.Fatalf("usage: %s", usage)
	}
	return set.Args()
}

// serve [-plain] [-fenced] [-dir DIR] [-data DIR] [-base PATH] NAME [flag…] starts our binary and waits until it is
// ready. Data stands in $WORK/NAME, the output in $WORK/NAME.log, the base URL in $NAME_URL, its port in $NAME_PORT.
// With -base the base URL that clients are given ends in that path. With -plain no flag is added: the script says everything, and -data only says where to
// look for run/listen. With -fenced it is waited for until it lives: one that may be behind is never ready.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	var plain, fenced bool
	var dir, data, base string
	args = flags(ts, neg, args, "serve [-plain] [-fenced] [-dir DIR] [-data DIR] [-base PATH] NAME [flag…]", 1, func(set *flag.FlagSet) {
		set.StringVar(&base, "base", "", "")
		set.BoolVar(&plain, "plain", false, "")
		set.BoolVar(&fenced, "fenced", false, "")
		set.StringVar(&dir, "dir", ".", "")
		set.StringVar(&data, "data", "", "")
	})
	w, name := of(ts), args[0]
	if data == "" {
		data = filepath.Join(w.work, name)
	}
	serve := append([]string{"serve"}, args[1:]...)
	if !plain {
		serve = append(serve, "--data", data, "--listen", w.address(ts, name))
	}
	if base != "" {
		serve = append(serve, "--base-url", "http://"+w.address(ts, name)+base)
	}
	cmd := exec.Command(w.tools.entrepot, serve...)
	cmd.Dir, cmd.Env = ts.MkAbs(dir), environ(ts)
	ready := "/readyz"
	if fenced {
		ready = "/healthz"
	}
	w.run(ts, name, cmd, answersByFile(ts.MkAbs(data), ready))
}

// upstream NAME [flag…] starts the reference registry, which keeps its log in memory:
// stopping it loses everything but content.
func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "upstream NAME [flag…]", 1, nil)
	w, name := of(ts), args[0]
	content := filepath.Join(w.work, name+"-content")
	ts.Check(os.MkdirAll(content, 0o755))
	address := w.address(ts, name)
	cmd := exec.Command(w.tools.program(wargServer, "warg-server"),
		append([]string{"--listen", address, "--content-dir", content}, args[1:]...)...)
	cmd.Env = []string{"PATH=" + systemPath, "NO_COLOR=1", "WARG_OPERATOR_KEY=" + operatorKey(name)}
	w.run(ts, name, cmd, readyByAddress(address))
}

func (w *world) run(ts *testscript.TestScript, name string, cmd *exec.Cmd, probe func() (string, error)) {
	if s, ok := w.servers[name]; ok {
		select {
		case <-s.done:
		default:
			ts.Fatalf("%s runs already", name)
		}
	}
	s, err := startServer(name, filepath.Join(w.work, name+".log"), cmd)
	ts.Check(err)
	w.servers[name] = s
	url, err := s.awaitReady(readyWithin, probe)
	ts.Check(err)
	ts.Setenv(urlVar(name), url)
	ts.Setenv(strings.ToUpper(name)+"_PORT", url[strings.LastIndexByte(url, ':')+1:])
	ts.Logf("%s at %s", name, url)
}

// address is the loopback address of a server, the same whenever it is started.
func (w *world) address(ts *testscript.TestScript, name string) string {
	if w.home[name] == "" {
		address, err := freeAddress()
		ts.Check(err)
		w.home[name] = address
	}
	return w.home[name]
}

// environ is the script's environment for a process of ours.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "NO_COLOR", "ENTREPOT_LISTEN", "ENTREPOT_DATA"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// halt [-begin|-end] NAME asks a server to end by SIGTERM; it must exit with status 0. -begin does
// not wait for that, -end does nothing else.
func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	var begin, end bool
	args = flags(ts, neg, args, "halt [-begin|-end] NAME", 1, func(set *flag.FlagSet) {
		set.BoolVar(&begin, "begin", false, "")
		set.BoolVar(&end, "end", false, "")
	})
	if end {
		ts.Check(of(ts).servers[args[0]].awaitEnd(syscall.SIGTERM))
		return
	}
	s := of(ts).running(ts, args[0])
	ts.Check(s.send(syscall.SIGTERM))
	if !begin {
		ts.Check(s.awaitEnd(syscall.SIGTERM))
	}
}

// kill9 NAME ends a server as a power cut would.
func cmdKill9(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "kill9 NAME", 1, nil)
	if err := of(ts).running(ts, args[0]).signal(syscall.SIGKILL); !killed(err) {
		ts.Fatalf("%s was to die by SIGKILL: %v", args[0], err)
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

func (w *world) running(ts *testscript.TestScript, name string) *server {
	s, ok := w.servers[name]
	if !ok {
		ts.Fatalf("no server %s was started", name)
	}
	select {
	case <-s.done:
		ts.Fatalf("%s has ended already (%v)", name, s.err)
	default:
	}
	return s
}

// client [-warg VERSION] [-set JSON] [-token TOKEN] NAME URL makes a new person with URL as home registry. -set
// adds members to the warg configuration, -token is what they logged in with. $NAME_DIR is the folder,
// $NAME_CWD its working folder, $NAME_KEY the key file.
func cmdClient(ts *testscript.TestScript, neg bool, args []string) {
	version, settings, token := "0.10.0", "{}", ""
	args = flags(ts, neg, args, "client [-warg VERSION] [-set JSON] [-token TOKEN] NAME URL", 2, func(set *flag.FlagSet) {
		set.StringVar(&version, "warg", version, "")
		set.StringVar(&settings, "set", settings, "")
		set.StringVar(&token, "token", "", "")
	})
	w, name := of(ts), args[0]
	warg := map[string]string{"0.10.0": warg010, "0.9.2": warg09, "0.7.0": warg07}[version]
	if warg == "" || w.clients[name] != nil {
		ts.Fatalf("client %s: no warg %s, or the name is taken", name, version)
	}
	config := map[string]any{}
	ts.Check(json.Unmarshal([]byte(settings), &config))
	if token != "" {
		config["keyringAuth"] = true
	}
	path := []string{w.tools.bin(warg), w.tools.bin(wkg015), w.tools.bin(wac010), filepath.Dir(w.tools.entrepot)}
	c, err := newClient(filepath.Join(w.work, "clients", name), args[1], config, append(path, filepath.SplitList(systemPath)...))
	ts.Check(err)
	if token != "" {
		_, address, _ := strings.Cut(args[1], "://")
		label := strings.ReplaceAll(address, ":", "-") // as the client names a registry
		ts.Check(c.keep("warg-auth-token:"+label, label, token))
	}
	w.clients[name] = c
	upper := strings.ToUpper(name)
	ts.Setenv(upper+"_DIR", c.dir)
	ts.Setenv(upper+"_CWD", filepath.Join(c.dir, "cwd"))
	ts.Setenv(upper+"_KEY", c.keyFile())
}

// [!] as [-rc N] NAME PROGRAM [arg…] runs a program as that person. stdout and stderr then
// look at what it printed. With "!" any exit status but 0 is right, with -rc that one alone.
// A program that dies by a signal or outlives its time fails the script either way.
func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	rc := 0
	args = flags(ts, false, args, "[!] as [-rc N] NAME PROGRAM [arg…]", 2, func(set *flag.FlagSet) {
		set.IntVar(&rc, "rc", 0, "")
	})
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	cmd := of(ts).command(ts, ctx, args)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	checkExit(ts, cmd.Run(), neg, rc)
}

func (w *world) command(ts *testscript.TestScript, ctx context.Context, args []string) *exec.Cmd {
	c, ok := w.clients[args[0]]
	if !ok {
		ts.Fatalf("no client %s was made", args[0])
	}
	cmd, err := c.command(ctx, args[1], args[2:]...)
	ts.Check(err)
	return cmd
}

// within DURATION REGEXP NAME PROGRAM [arg…] runs a program as that person again and again until
// what it prints matches: for what another process does in its own time.
func cmdWithin(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "within DURATION REGEXP NAME PROGRAM [arg…]", 4, nil)
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(10 * pollEvery)
	defer tick.Stop()
	var last []byte
	var lastErr error
	for {
		printed, err := of(ts).command(ts, ctx, args[2:]).CombinedOutput()
		if want.Match(printed) && err == nil {
			_, _ = ts.Stdout().Write(printed)
			return
		}
		if ctx.Err() == nil {
			last, lastErr = printed, err
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("nothing matched %q within %v; the last run (%v) printed:\n%s", args[1], limit, lastErr, last)
		case <-tick.C:
		}
	}
}

// tty PROMPT ANSWER NAME PROGRAM [arg…] runs a program as that person on a terminal, and types
// the answer when the prompt is there. stdout then looks at what the terminal showed.
func cmdTTY(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "tty PROMPT ANSWER NAME PROGRAM [arg…]", 4, nil)
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	shown, err := runOnTerminal(of(ts).command(ts, ctx, args[2:]), args[0], args[1])
	_, _ = io.WriteString(ts.Stdout(), shown)
	checkExit(ts, err, neg, 0)
}

// exits N PROGRAM [arg…] runs a program with the script's own environment and wants that status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "exits N PROGRAM [arg…]", 2, nil)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	checkExit(ts, ts.Exec(args[1], args[2:]...), neg, want)
}

// checkExit compares the end of a program with what the script wants.
func checkExit(ts *testscript.TestScript, err error, neg bool, want int) {
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("running: %v", err)
	}
	switch {
	case got < 0:
		ts.Fatalf("ended by %v (each command has %v)", err, commandWithin)
	case neg && want == 0 && got == 0:
		ts.Fatalf("succeeded, and was to fail")
	case neg && want == 0:
	case got != want:
		ts.Fatalf("exit status %d, and was to be %d", got, want)
	}
}

// capture VAR REGEXP [FILE] sets $VAR to the first group of the first match in FILE, by
// default the last standard output.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "capture VAR REGEXP [FILE]", 2, nil)
	file := "stdout"
	if len(args) > 2 {
		file = args[2]
	}
	expression, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := expression.FindStringSubmatch(ts.ReadFile(file))
	if len(found) < 2 {
		ts.Fatalf("no match with a group for %q in %s", args[1], file)
	}
	ts.Setenv(args[0], found[1])
	ts.Logf("%s = %s", args[0], found[1])
}

// expand FILE… replaces $VAR and ${VAR} in the files by the script's variables.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range flags(ts, neg, args, "expand FILE…", 1, nil) {
		path := ts.MkAbs(name)
		ts.Check(os.WriteFile(path, []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o644))
	}
}

// [!] same FILE FILE compares bytes, and does not print them.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, false, args, "[!] same FILE FILE", 2, nil)
	if equal := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); equal == neg {
		ts.Fatalf("%s and %s: equal is %v", args[0], args[1], equal)
	}
}
