package relay

import (
	"bytes"
	"testing"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// tcp returns a front and an owner that are connected over TCP, and the
// front's way to the volume.
func tcp(t testing.TB, change func(*Config)) (front, owner *gateway, v *Volume) {
	owner = newGateway(t, memberB, change)
	front = newGateway(t, memberA, change)
	front.node.SetPeers([]Peer{owner.listen()})
	front.wait(func() bool { return len(front.found) > 0 })
	return front, owner, front.node.Volume(testVolume, 7, memberB)
}

func TestReadAndWrite(t *testing.T) {
	front, owner, v := tcp(t, nil)
	for i, size := range []int{1, 512, 4096, 70_000, 3 << 20} {
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		owner.unit.set(func(r *fakeRemote, k *lun.Task) {
			if k.Epoch != 7 || k.LUN != [8]byte{} || !k.Read && !bytes.Equal(bytes.Join(k.Out.Vec(), nil), data) {
				t.Errorf("a wrong task: %+v", k)
			}
			if k.Read {
				k.In.Append(buf(data))
			}
			r.done(k, scsi.Good)
		})
		h := front.host(v, byte(i))
		w := expect(t, h.send(write(data...)), lun.Ended, scsi.Good)
		if w.Want != uint64(size) {
			t.Errorf("Want is %d", w.Want)
		}
		k := expect(t, h.send(read(size)), lun.Ended, scsi.Good)
		if got := bytes.Join(k.In.Vec(), nil); !bytes.Equal(got, data) {
			t.Errorf("%d bytes, wrong ones", len(got))
		}
		k.Reset()
		w.Reset()
	}
}

func TestSense(t *testing.T) {
	front, owner, v := tcp(t, nil)
	sense := []byte{0x70, 0, 5, 0, 0, 0, 0, 10}
	owner.unit.set(func(r *fakeRemote, k *lun.Task) {
		k.SetRawSense(sense)
		r.done(k, scsi.CheckConditionStatus)
	})
	k := expect(t, front.host(v, 1).send(read(512)), lun.Ended, scsi.CheckConditionStatus)
	if !bytes.Equal(k.Sense, sense) {
		t.Errorf("%x", k.Sense)
	}
}
