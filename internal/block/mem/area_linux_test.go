package mem

import (
	"testing"
	"unsafe"
)

// TestMappedSlabs: slabs are aligned, and what is forgotten is gone.
func TestMappedSlabs(t *testing.T) {
	a, err := mapArea()
	if err != nil {
		t.Fatal(err)
	}
	defer unmapArea(a)
	if len(a.slabs) != areaSize || uintptr(unsafe.Pointer(unsafe.SliceData(a.slabs)))%slabSize != 0 {
		t.Fatalf("%d bytes at %p", len(a.slabs), a.slabs)
	}
	one, two := a.slabs[:slabSize], a.slabs[slabSize:2*slabSize]
	one[0], one[slabSize-1], two[0] = 1, 1, 1
	forgetSlab(one)
	if one[0] != 0 || one[slabSize-1] != 0 || two[0] != 1 {
		t.Fatal("the memory was not given back, or that of the next slab was")
	}
}
