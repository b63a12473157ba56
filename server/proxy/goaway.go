package proxy

// GoAway ends every upgraded connection in order: WebSockets with 1001 (RFC 6455, 7.4.1), others at once. It is for a
// process that stops, whose upgraded connections no request's end would ever end; ordinary requests go on.
func (b *Balancer) GoAway() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for in := range b.members {
		in.tunnels.goAway()
	}
}
