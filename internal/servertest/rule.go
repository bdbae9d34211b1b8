package servertest

import "slices"

// verdict is what happens to a request.
type verdict int

const (
	pass verdict = iota
	dropReply
	cut
)

// rule is a fault that is still to come.
type rule struct {
	verdict verdict
	match   func(request []byte) bool
	left    int
}

func (p *Proxy) add(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

// judge finds the first rule for a request and uses it up by one. The match is
// called without the lock, so that it may call the proxy.
func (p *Proxy) judge(request []byte) verdict {
	p.mu.Lock()
	rules := slices.Clone(p.rules)
	p.mu.Unlock()
	for _, r := range rules {
		if r.match(request) && p.use(r) {
			return r.verdict
		}
	}
	return pass
}

// use reports false if the rule was used up or taken back meanwhile.
func (p *Proxy) use(r *rule) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.left <= 0 || !slices.Contains(p.rules, r) {
		return false
	}
	r.left--
	return true
}
