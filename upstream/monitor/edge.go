package monitor

import "crypto/sha256"

// edge is the right edge of a log tree (RFC 6962): the roots of the perfect
// subtrees that the leaves fall into, the largest first. There is one for each bit
// that is set in the length. It is all that is needed to append and to compute the
// root.
type edge struct {
	length uint64
	roots  []hash
}

func (e *edge) append(leaf hash) {
	e.roots = append(e.roots, leaf)
	for n := e.length; n&1 == 1; n >>= 1 { // two trees of one size make one of twice the size
		last := len(e.roots) - 1
		e.roots[last-1] = branch(e.roots[last-1], e.roots[last])
		e.roots = e.roots[:last]
	}
	e.length++
}

func (e *edge) root() hash { return foldRight(e.roots) }

func (e *edge) clone() *edge { return &edge{e.length, append([]hash(nil), e.roots...)} }

// foldRight is the root over perfect subtrees of falling size.
func foldRight(roots []hash) hash {
	if len(roots) == 0 {
		return sha256.Sum256(nil)
	}
	acc := roots[len(roots)-1]
	for i := len(roots) - 2; i >= 0; i-- {
		acc = branch(roots[i], acc)
	}
	return acc
}
