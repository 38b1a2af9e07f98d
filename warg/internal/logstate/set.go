package logstate

// maxPermissions is the number of permissions of the log that has the most.
const maxPermissions = 3

// Set is a set of permissions in the order the protocol gives it: additions go to
// the end, and a removal moves the last element into the gap.
type Set[P ~uint8] struct {
	list [maxPermissions]P
	n    uint8
}

func (s Set[P]) find(p P) int {
	for i, have := range s.list[:s.n] {
		if have == p {
			return i
		}
	}
	return -1
}

// Has reports whether p is in the set.
func (s Set[P]) Has(p P) bool { return s.find(p) >= 0 }

// With returns the set with p.
func (s Set[P]) With(p P) Set[P] {
	if !s.Has(p) {
		s.list[s.n] = p
		s.n++
	}
	return s
}

// Without returns the set without p, and whether it was there.
func (s Set[P]) Without(p P) (Set[P], bool) {
	at := s.find(p)
	if at < 0 {
		return s, false
	}
	s.n--
	s.list[at], s.list[s.n] = s.list[s.n], 0
	return s, true
}

// List returns the permissions in order.
func (s Set[P]) List() []P { return append([]P{}, s.list[:s.n]...) }
