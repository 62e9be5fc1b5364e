package gateway

// failed implements lun.UnitOptions: a command has found that the device serves
// nothing until it is opened again, since a flush failed (DESIGN R7).
//
// The volume goes to a gateway that can open it: the disk may be out of reach for
// this one alone. Hosts are told by the next owner what may be lost
// (block.Info.Lost); where writes are stable before they are answered, nothing is.
func (s *slot) failed(why error) (reopens bool) {
	if s.dev.fail() {
		s.m.n.cfg.Log.Error("a volume failed here: it is to be opened again, by another gateway where there is one", "volume", s.id.String(), "error", why)
		s.m.runtime.Failed(s.id, why)
	}
	return true
}
