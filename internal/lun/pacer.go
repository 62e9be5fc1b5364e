package lun

import "time"

// pacer keeps background work to a rate (DESIGN §7). It is not safe for
// concurrent use.
type pacer struct {
	rate int64 // bytes a second
	next time.Time
}

// pace waits until n bytes more fit the rate. It returns false at once when
// stop is closed.
func (p *pacer) pace(n int64, stop <-chan struct{}) bool {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if wait <= 0 {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// portion is how much to do at a time: 100 ms' worth, in whole blocks of unit
// bytes, at most limit.
func (p *pacer) portion(limit, unit int64) int64 {
	return max(unit, min(limit, p.rate/10)/unit*unit)
}
