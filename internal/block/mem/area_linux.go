package mem

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is huge pages where the kernel has them and ordinary ones elsewhere
// (/sys/kernel/mm/transparent_hugepage/enabled is madvise or always).
var kernel = source{grab: mapArea, forget: forgetSlab, free: unmapArea}

func mapArea() (area, error) {
	// One slab more, as a mapping begins at any page.
	b, err := unix.Mmap(-1, 0, areaSize+slabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return area{}, fmt.Errorf("map %d bytes of memory: %w", areaSize+slabSize, err)
	}
	// A kernel without huge pages refuses; the memory is as good as any then.
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	pad := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % slabSize
	return area{whole: b, slabs: b[pad : pad+areaSize : pad+areaSize]}, nil
}

// forgetSlab may fail (mlockall): then the memory stays, which harms nothing
// else, as nobody relies on zeros.
func forgetSlab(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

func unmapArea(a area) { _ = unix.Munmap(a.whole) }
