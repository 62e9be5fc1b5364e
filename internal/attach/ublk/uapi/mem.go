package uapi

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Map returns n zeroed bytes outside of Go's heap, at a page boundary.
func Map(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of memory: %w", n, err)
	}
	return b, nil
}

// Unmap gives back what Map or MapDescs returned. Nothing may use it any more.
func Unmap(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

// Address returns where b lies, as the kernel is told it. b comes from Map.
func Address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// Descs are the descriptors of a queue, in memory that the driver writes.
type Descs struct {
	mem  []byte
	desc []Desc
}

// MapDescs maps the descriptors of a queue from the open CharPath fd.
func MapDescs(fd int, queue uint16, depth int) (*Descs, error) {
	page := os.Getpagesize()
	n := (depth*int(unsafe.Sizeof(Desc{})) + page - 1) / page * page
	stride := (descStride + page - 1) / page * page
	mem, err := unix.Mmap(fd, int64(queue)*int64(stride), n, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map the descriptors of queue %d: %w", queue, err)
	}
	return &Descs{mem, unsafe.Slice((*Desc)(unsafe.Pointer(unsafe.SliceData(mem))), depth)}, nil
}

// At returns the descriptor of a tag as it is now.
func (d *Descs) At(tag uint16) Desc { return d.desc[tag] }

// Unmap gives the mapping back.
func (d *Descs) Unmap() error {
	mem := d.mem
	d.mem, d.desc = nil, nil
	return Unmap(mem)
}

// Payload is memory for what a control command points to.
type Payload struct{ mem []byte }

// NewPayload maps a page.
func NewPayload() (*Payload, error) {
	mem, err := Map(os.Getpagesize())
	return &Payload{mem}, err
}

// Close gives the memory back.
func (p *Payload) Close() error {
	mem := p.mem
	p.mem = nil
	return Unmap(mem)
}

// DevInfo, Params and Features are the payload seen as each of what it may hold; one command uses one of them.
func (p *Payload) DevInfo() *DevInfo { return (*DevInfo)(unsafe.Pointer(unsafe.SliceData(p.mem))) }

// Params is the payload of CmdSetParams and CmdGetParams.
func (p *Payload) Params() *Params { return (*Params)(unsafe.Pointer(unsafe.SliceData(p.mem))) }

// Features is the payload of CmdGetFeatures.
func (p *Payload) Features() *uint64 { return (*uint64)(unsafe.Pointer(unsafe.SliceData(p.mem))) }

// Address returns where the payload lies.
func (p *Payload) Address() uint64 { return Address(p.mem) }

// The lengths of the payloads.
const (
	DevInfoLen  = uint16(unsafe.Sizeof(DevInfo{}))
	ParamsLen   = uint16(unsafe.Sizeof(Params{}))
	FeaturesLen = uint16(8)
)
