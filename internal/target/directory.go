package target

import (
	"errors"
	"net/netip"

	"sango/internal/lun"
	"sango/internal/san"
)

// What a Directory may answer a login with.
var (
	// ErrNotFound: there is no such target (login status 0203h).
	ErrNotFound = errors.New("no such target")
	// ErrForbidden: the initiator may not log in to it (login status 0202h).
	ErrForbidden = errors.New("the initiator may not log in to this target")
)

// Directory tells the engine what there is and who may use it. Its methods are
// called from the goroutine of the connection. Discovery and Login are called
// once per login, and may block for as long as that may take; Visible and
// Portals answer from memory, since commands of the session wait meanwhile.
// initiator is the name that the peer claims to have; from is its address.
type Directory interface {
	// Visible returns the names of the targets that SendTargets may show.
	Visible(initiator string, from netip.Addr) []string
	// Portals returns the portals of a target as they are advertised.
	Portals(target string) []PortalAddr
	// Discovery returns the accounts of which a discovery session may use one,
	// and with Config.DiscoveryCHAP has to; none: no authentication.
	Discovery(initiator string, from netip.Addr) ([]san.CHAP, error)
	// Login returns what a normal session to target is granted. Errors are
	// ErrNotFound, ErrForbidden, or others that mean that nobody could say.
	Login(initiator string, from netip.Addr, target string) (Grant, error)
}

// Redirector is what a Directory is besides, if it knows where else its targets
// are served.
type Redirector interface {
	// Elsewhere returns the portals of other gateways through which target can be
	// reached now, as initiators see them: of those that take sessions, and do not
	// drain themselves. It answers from memory.
	Elsewhere(target string) []netip.AddrPort
}

// PortalAddr is a portal as initiators are told about it. An Addr with the
// unspecified address (0.0.0.0 or [::]) stands for the address that the asking
// initiator is connected to.
type PortalAddr struct {
	Addr string // ip:port
	TPG  san.TPG
}

// Grant is what a login is given.
type Grant struct {
	Target   *lun.Target
	Host     string     // name of the host, "" where the target is open
	Accounts []san.CHAP // the initiator has to use one of them; none: no authentication
}
