package wargtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg/wargtest"
)

// A package with an implementation of the interfaces has a test like this one.
func Example() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
			upstream := wargtest.NewMemory(wargtest.MemoryOptions())
			return wargtest.Subject{
				Registry:    upstream, // or what stands before it
				Publisher:   upstream,
				OperatorKey: wargtest.Alice().Public(),
				Imports:     true,
			}
		})
	}
}

func ExamplePackage() {
	ctx := context.Background()
	registry := wargtest.NewMemory(wargtest.MemoryOptions())
	hello, content := wargtest.NewPackage("test:hello"), wargtest.Component("hello")
	record := hello.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content))

	status, err := registry.Publish(ctx, hello.Request(record))
	fmt.Println(status.State, len(status.Missing), err)
	// Output:
	// sourcing 1 <nil>
}
