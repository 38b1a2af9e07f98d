package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/config"
)

// unitSettings reads a unit file of systemd.
func unitSettings(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(line, "#") {
			all[key] = append(all[key], value)
		}
	}
	return all
}

// TestUnit: the commands of the unit exist, its variables are settings, and what it says
// of exit codes is so.
func TestUnit(t *testing.T) {
	const file = "../../docs/systemd/entrepot.service"
	unit := unitSettings(t, file)
	lines := slices.Concat(unit["ExecStartPre"], unit["ExecStart"])
	if len(lines) < 2 {
		t.Fatalf("commands %v", lines)
	}
	for _, line := range lines {
		words := strings.Fields(line)
		if words[0] != "/usr/local/bin/entrepot" {
			t.Errorf("it runs %s", words[0])
		}
		var c cli
		parser, err := newParser(&c, &process{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(words[1:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range unit["Environment"] {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "ENTREPOT_") && name != config.EnvName("authority", "key_file") {
			t.Errorf("it sets %s", name)
		}
		if strings.Contains(value, "%d") && !slices.Contains(unit["LoadCredential"], strings.TrimPrefix(value, "%d/")+":/etc/entrepot/"+strings.TrimPrefix(value, "%d/")) {
			t.Errorf("%s names a credential that is not loaded", line)
		}
	}
	if !slices.Equal(unit["RestartPreventExitStatus"], []string{"78"}) || exitConfig != 78 {
		t.Errorf("it does not restart after %v; what needs a person ends with %d", unit["RestartPreventExitStatus"], exitConfig)
	}
	if !slices.Equal(unit["Type"], []string{"notify"}) || len(unit["WatchdogSec"]) != 1 {
		t.Error("systemd does not listen to what it is told")
	}
}

// TestUnitHasNoSecret: nothing in the unit or the container is a secret itself.
func TestUnitHasNoSecret(t *testing.T) {
	for _, file := range []string{"../../docs/systemd/entrepot.service", "../../docs/container/Containerfile"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`ecdsa-p256:|SetCredential=|(?i)password|token=`).Find(text); m != nil {
			t.Errorf("%s has %q", file, m)
		}
	}
}
