package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"time"
)

// calibrate measures what every figure depends on: one SHA-256 of a tree node,
// which rises when the machine is shared, and one small write with fdatasync.
func calibrate() string {
	var node [65]byte
	const hashes = 200_000
	start := time.Now()
	for range hashes {
		sum := sha256.Sum256(node[:])
		copy(node[1:], sum[:])
	}
	hash := time.Since(start) / hashes
	sync, err := syncCost()
	if err != nil {
		return fmt.Sprintf("node hash %v, sync not measured: %v", hash, err)
	}
	return fmt.Sprintf("node hash %v, 4 KiB write and sync %v", hash, sync)
}

func syncCost() (time.Duration, error) {
	f, err := os.CreateTemp(".", ".sync-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const writes = 50
	block := make([]byte, 4096)
	start := time.Now()
	for range writes {
		if _, err := f.WriteAt(block, 0); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / writes, nil
}
