package proxy

import (
	"net"
	"net/netip"
)

// peerBits6 is the part of an IPv6 address that stands for one customer; an
// attacker who owns a /64 owns 2^64 addresses.
const peerBits6 = 64

// peerOf returns what connections from addr are counted under: the IPv4 address,
// or the /64 of an IPv6 address. It is not ok for addresses that are not counted:
// those of trusted proxies and of Unix sockets.
func peerOf(addr net.Addr, trusted []netip.Prefix) (netip.Prefix, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range trusted {
		if p.Contains(ip) {
			return netip.Prefix{}, false
		}
	}
	bits := ip.BitLen()
	if ip.Is6() {
		bits = peerBits6
	}
	p, err := ip.Prefix(bits)
	return p, err == nil
}
