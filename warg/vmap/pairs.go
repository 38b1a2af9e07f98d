package vmap

import "github.com/entrepot/entrepot/warg"

// pairsAtOnce is how many forks are collected before they are hashed.
const pairsAtOnce = 16

// pairs collects forks whose children are hashed, to hash them side by side.
type pairs struct {
	count int
	out   [pairsAtOnce]*warg.Digest
	src   [2 * pairsAtOnce]warg.Digest
	dst   [pairsAtOnce]warg.Digest
}

// add has the hash of a fork put into out, at the latest by flush.
func (p *pairs) add(out *warg.Digest, f *fork) {
	p.out[p.count] = out
	p.src[2*p.count], p.src[2*p.count+1] = f.left.hash, f.right.hash
	if p.count++; p.count == pairsAtOnce {
		p.flush()
	}
}

func (p *pairs) flush() {
	HashPairs(p.dst[:p.count], p.src[:])
	for i := range p.count {
		*p.out[i] = p.dst[i]
	}
	p.count = 0
}
