//go:build !unix

package proxy

import "net"

// openFileLimit is unknown on systems without descriptor limits.
func openFileLimit() (int, bool) { return 0, false }

// descriptorOf is unknown there as well.
func descriptorOf(net.Conn) (int, bool) { return 0, false }
