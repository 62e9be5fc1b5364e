package nbd

import "testing"

func TestGreeting(t *testing.T) {
	const wire = `'NBDMAGICIHAVEOPT' 0003`
	vector(t, wire, Greeting{Flags: FixedNewstyle | NoZeroes}, ParseGreeting)
	truncated(t, wire, ParseGreeting)
	refused(t, `'NBDMAGIC' 00420281861253 0000 00`, ParseGreeting) // oldstyle
}

func TestClientFlags(t *testing.T) {
	vector(t, `00000003`, ClientFixedNewstyle|ClientNoZeroes, ParseClientFlags)
	truncated(t, `00000001`, ParseClientFlags)
	refused(t, `00000004`, ParseClientFlags)
}
