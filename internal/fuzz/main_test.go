package main

import "testing"

// fewest is how many fuzz targets there must be at least.
const fewest = 60

func TestTargets(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[target]bool{}
	for _, one := range all {
		if seen[one] {
			t.Errorf("%v twice", one)
		}
		seen[one] = true
	}
	if len(all) < fewest {
		t.Errorf("there are %d fuzz targets; want %d at least", len(all), fewest)
	}
}

func TestCount(t *testing.T) {
	out := "fuzz: elapsed: 0s, gathering baseline coverage: 0/12 completed\n" +
		"fuzz: elapsed: 3s, execs: 1200 (400/sec), new interesting: 3 (total: 15)\n" +
		"fuzz: elapsed: 5s, execs: 2300 (550/sec), new interesting: 4 (total: 16)\nPASS\n"
	if n := count(out); n != 2300 {
		t.Errorf("counted %d", n)
	}
	if n := count("FAIL\n"); n != 0 {
		t.Errorf("counted %d where nothing ran", n)
	}
}
