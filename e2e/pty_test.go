//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// openPty returns both ends of a new pseudo-terminal. Some commands of the clients, such as
// yank, ask on a terminal and on nothing else.
func openPty() (controller, terminal *os.File, err error) {
	controller, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a pseudo-terminal: %w", err)
	}
	defer func() {
		if err != nil {
			controller.Close()
		}
	}()
	if err = unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlocking a pseudo-terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("naming a pseudo-terminal: %w", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the terminal side: %w", err)
	}
	return controller, terminal, nil
}

// runOnTerminal runs the command with a controlling terminal on all three streams and types
// the answer once the prompt has appeared. It returns what the terminal showed.
func runOnTerminal(cmd *exec.Cmd, prompt, answer string) (string, error) {
	controller, terminal, err := openPty()
	if err != nil {
		return "", err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		terminal.Close()
		controller.Close()
		return "", err
	}
	terminal.Close() // the child has it; when it ends, reading fails and the reader below stops

	var screen strings.Builder
	typed := false
	var reader sync.WaitGroup
	reader.Go(func() {
		piece := make([]byte, 4096)
		for {
			n, err := controller.Read(piece)
			screen.Write(piece[:n])
			if !typed && strings.Contains(screen.String(), prompt) {
				typed = true
				_, _ = io.WriteString(controller, answer)
			}
			if err != nil {
				return
			}
		}
	})
	err = cmd.Wait()
	reader.Wait()
	controller.Close()
	if err == nil && !typed {
		err = fmt.Errorf("the prompt %q never appeared", prompt)
	}
	return screen.String(), err
}
