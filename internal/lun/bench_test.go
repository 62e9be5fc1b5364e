package lun

import (
	"fmt"
	"testing"

	"sango/internal/scsi"
)

// BenchmarkCommand is a command from Admit to TaskDone: over a device that does
// nothing, with other tasks on the unit and with a reservation; and over
// memory, where the data is copied.
func BenchmarkCommand(b *testing.B) {
	for _, op := range []struct {
		name string
		code scsi.OpCode
	}{{"tur", scsi.OpTestUnitReady}, {"read", scsi.OpRead10}, {"write", scsi.OpWrite10}} {
		for _, s := range []steadyState{
			{size: 4 << 10},
			{size: 4 << 10, tasks: 1},
			{size: 4 << 10, tasks: 32},
			{size: 4 << 10, reserved: true},
			{size: 4 << 10, memory: true},
			{size: 64 << 10, memory: true},
		} {
			s.op = op.code
			size, device := s.size, "null"
			if s.memory {
				device = "mem"
			}
			if s.op == scsi.OpTestUnitReady {
				if s.memory {
					continue
				}
				size = 0
			}
			b.Run(fmt.Sprintf("op=%s/size=%dk/device=%s/tasks=%d/reserved=%t", op.name, size>>10, device, s.tasks, s.reserved), func(b *testing.B) {
				run := s.start(b)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					run()
				}
			})
		}
	}
}
