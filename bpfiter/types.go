//go:build linux

package bpfiter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// kernelTypes is the file in which the kernel describes its types, in the format of BTF.
const kernelTypes = "/sys/kernel/btf/vmlinux"

// mapKernelTypes is the content of that file, until it is unmapped.
func mapKernelTypes() (raw []byte, unmap func(), err error) {
	f, err := os.Open(kernelTypes)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if raw, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE); err == nil {
		return raw, func() { _ = unix.Munmap(raw) }, nil
	}
	raw = make([]byte, info.Size())
	_, err = io.ReadFull(f, raw) // before Linux 6.16 it cannot be mapped
	return raw, func() {}, err
}

// The kinds of BTF, as <linux/btf.h> numbers them.
const (
	btfInt = iota + 1
	btfPtr
	btfArray
	btfStruct
	btfUnion
	btfEnum
	btfFwd
	btfTypedef
	btfVolatile
	btfConst
	btfRestrict
	btfFunc
	btfFuncProto
	btfVar
	btfDatasec
	btfFloat
	btfDeclTag
	btfTypeTag
	btfEnum64
)

// btfMagic begins a file of BTF.
const btfMagic = 0xeb9f

var errBTF = errors.New("BPF: the kernel's description of its types is not understood")

// btfLayout says, for each kind, how long what follows struct btf_type is, once or for each of its elements.
var btfLayout = [...]struct{ once, each int }{
	btfInt: {once: 4}, btfArray: {once: 12}, btfStruct: {each: 12}, btfUnion: {each: 12}, btfEnum: {each: 8}, btfFuncProto: {each: 8},
	btfVar: {once: 4}, btfDatasec: {each: 12}, btfDeclTag: {once: 4}, btfEnum64: {each: 12},
}

// btfRecord is a type: struct btf_type and what follows it.
type btfRecord []byte

func (r btfRecord) word(i int) uint32       { return binary.NativeEndian.Uint32(r[4*i:]) }
func (r btfRecord) set(i int, value uint32) { binary.NativeEndian.PutUint32(r[4*i:], value) }
func (r btfRecord) kind() int               { return int(r.word(1) >> 24 & 0x1f) }

// btfFile is a file of BTF.
type btfFile struct {
	types, names []byte
	at           []uint32 // where each type begins, by its number less one
}

// openBTF is the two parts of a file.
func openBTF(raw []byte) (*btfFile, error) {
	if len(raw) < 24 || binary.NativeEndian.Uint16(raw) != btfMagic || raw[2] != 1 || raw[3] != 0 {
		return nil, errBTF
	}
	var at [5]uint64 // the length of this header; where types begin, their length; where names begin, their length
	for i := range at {
		at[i] = uint64(binary.NativeEndian.Uint32(raw[4+4*i:]))
	}
	size := uint64(len(raw))
	if at[0]+at[1]+at[2] > size || at[0]+at[3]+at[4] > size || size > math.MaxUint32 {
		return nil, errBTF
	}
	types, names := raw[at[0]+at[1]:][:at[2]], raw[at[0]+at[3]:][:at[4]]
	return &btfFile{types: types, names: names}, nil
}

// each goes through the types in the order of their numbers, which begin at 1.
func (f *btfFile) each(visit func(id uint32, r btfRecord)) error {
	f.at = make([]uint32, 0, len(f.types)/24)
	for at := 0; at < len(f.types); {
		if len(f.types)-at < 12 {
			return errBTF
		}
		r := btfRecord(f.types[at:])
		kind, size := r.kind(), 12
		if kind == 0 || kind > btfEnum64 {
			return errBTF
		}
		if kind < len(btfLayout) {
			size += btfLayout[kind].once + btfLayout[kind].each*int(r.word(1)&0xffff)
		}
		if len(r) < size {
			return errBTF
		}
		f.at = append(f.at, uint32(at))
		visit(uint32(len(f.at)), r[:size])
		at += size
	}
	return nil
}

// record is a type by its number.
func (f *btfFile) record(id uint32) (btfRecord, error) {
	if id == 0 || int(id) > len(f.at) {
		return nil, errBTF
	}
	end := len(f.types)
	if int(id) < len(f.at) {
		end = int(f.at[id])
	}
	return btfRecord(f.types[f.at[id-1]:end]), nil
}

// name is what a type or member is called, without the zero at its end.
func (f *btfFile) name(at uint32) ([]byte, error) {
	if uint64(at) >= uint64(len(f.names)) {
		return nil, errBTF
	}
	name, _, ended := bytes.Cut(f.names[at:], []byte{0})
	if !ended {
		return nil, errBTF
	}
	return name, nil
}

// flavour is the name of a type without what C needs to declare it twice.
func flavour[T string | []byte](name T) T {
	if i := strings.LastIndex(string(name), "___"); i >= 0 {
		return name[:i]
	}
	return name
}

// sift is the types of these names and what these consist of, as a file of its own, and the number that a function has in the first one. What pointers
// point to is left out: to know where a field lies does not need it, and it is nearly all types of the kernel.
func sift(raw []byte, names map[string]bool, function string) (sifted []byte, id uint32, err error) {
	f, err := openBTF(raw)
	if err != nil {
		return nil, 0, err
	}
	s := &sifter{btfFile: f, numbers: map[uint32]uint32{}, names: []byte{0}}
	wanted := append([]byte(function), 0)
	var roots []uint32
	twice := false
	err = f.each(func(i uint32, r btfRecord) {
		at := r.word(0)
		if at == 0 || uint64(at) >= uint64(len(f.names)) {
			return
		}
		switch r.kind() {
		case btfFunc:
			if bytes.HasPrefix(f.names[at:], wanted) {
				twice = twice || id != 0
				id = i
			}
		case btfStruct, btfUnion, btfTypedef:
			if name, err := f.name(at); err == nil && names[string(flavour(name))] {
				roots = append(roots, i)
			}
		}
	})
	if err == nil && (id == 0 || twice) {
		err = fmt.Errorf("BPF: the kernel's types do not tell %s", function)
	}
	for _, root := range roots {
		if err == nil {
			_, err = s.number(root)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	sifted, err = s.write()
	return sifted, id, err
}

// sifter copies types, each under a number of its own.
type sifter struct {
	*btfFile
	numbers map[uint32]uint32 // by those of the file
	copied  []uint32          // numbers of the file, in the order of their own
	names   []byte
	pointer uint32 // the number of the one pointer, 0: there is none yet
}

// number is that of the copy, which comes to be here.
func (s *sifter) number(id uint32) (uint32, error) {
	if id == 0 { // void
		return 0, nil
	}
	if n := s.numbers[id]; n != 0 {
		return n, nil
	}
	r, err := s.record(id)
	if err != nil {
		return 0, err
	}
	if r.kind() == btfPtr && s.pointer != 0 {
		return s.pointer, nil
	}
	s.copied = append(s.copied, id)
	n := uint32(len(s.copied))
	if r.kind() == btfPtr {
		s.pointer = n
	}
	s.numbers[id] = n
	return n, nil
}

// mostNames bounds what the names of the copies take, which come one for each use. On Linux 6.18 that is 27 KiB.
const mostNames = 16 << 20

// rename is where a name is among those of the copies.
func (s *sifter) rename(at uint32) (uint32, error) {
	if at == 0 {
		return 0, nil
	}
	name, err := s.name(at)
	if err == nil && len(s.names)+len(name) >= mostNames {
		err = errBTF
	}
	if err != nil {
		return 0, err
	}
	here := uint32(len(s.names))
	s.names = append(append(s.names, name...), 0)
	return here, nil
}

// write is a file of the copies, and of all that they consist of.
func (s *sifter) write() ([]byte, error) {
	var types []byte
	for i := 0; i < len(s.copied); i++ { // to which the loop adds
		r, err := s.record(s.copied[i])
		if err != nil {
			return nil, err
		}
		at := len(types)
		types = append(types, r...)
		if err := s.adapt(btfRecord(types[at:])); err != nil {
			return nil, err
		}
	}
	const header = 24
	file := binary.NativeEndian.AppendUint16(make([]byte, 0, header+len(types)+len(s.names)), btfMagic)
	file = append(file, 1, 0)
	for _, n := range []int{header, 0, len(types), len(types), len(s.names)} {
		file = binary.NativeEndian.AppendUint32(file, uint32(n))
	}
	return append(append(file, types...), s.names...), nil
}

// adapt has a copy refer to copies.
func (s *sifter) adapt(r btfRecord) (err error) {
	change := func(word int, to func(uint32) (uint32, error)) {
		if err == nil {
			var value uint32
			value, err = to(r.word(word))
			r.set(word, value)
		}
	}
	elements := int(r.word(1) & 0xffff)
	change(0, s.rename)
	switch r.kind() {
	case btfInt, btfFwd, btfFloat:
	case btfPtr:
		r.set(2, 0)
	case btfTypedef, btfVolatile, btfConst, btfRestrict, btfTypeTag:
		change(2, s.number)
	case btfArray:
		change(3, s.number)
		change(4, s.number)
	case btfStruct, btfUnion:
		for i := range elements {
			change(3+3*i, s.rename)
			change(4+3*i, s.number)
		}
	case btfEnum:
		for i := range elements {
			change(3+2*i, s.rename)
		}
	case btfEnum64:
		for i := range elements {
			change(3+3*i, s.rename)
		}
	default: // nothing consists of these
		return errBTF
	}
	return err
}

// namesOf are the names of the types by which a program may refer to those of the kernel.
func namesOf(types *btf.Spec) (map[string]bool, error) {
	names := map[string]bool{}
	for t, err := range types.All() {
		if err != nil {
			return nil, err
		}
		if name := t.TypeName(); name != "" {
			names[flavour(name)] = true
		}
	}
	return names, nil
}
