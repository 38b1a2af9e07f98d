//go:build e2e

package e2e

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// maxExposure is what systemd-analyze may say of the unit at most, from 0 (none) to 10.
const maxExposure = 2.0

// TestUnitExposure lets systemd rate the unit that the documents offer.
func TestUnitExposure(t *testing.T) {
	const unit = "../docs/systemd/entrepot.service"
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze, of the package systemd: %v\n%s", err, out)
	}
	said := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if said == nil {
		t.Fatalf("systemd-analyze does not rate the unit:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(string(said[1]), 64)
	if err != nil || exposure > maxExposure {
		t.Errorf("exposure %s, want at most %.1f:\n%s", said[1], maxExposure, out)
	}
	t.Logf("exposure %s", said[1])
}
