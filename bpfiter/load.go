//go:build linux

package bpfiter

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// load loads programs. The library would index all types that the kernel and its modules have, and build those that a structure leads to:
// two thirds of the time that a load takes. So it is shown a file of what the programs refer to alone. Where that does not go, it does all by
// itself, and says what is wrong.
func load(names ...string) (*Source, error) {
	spec, err := loadIter()
	if err != nil {
		return nil, oneLine(err)
	}
	for name := range spec.Programs {
		if !slices.Contains(names, name) {
			delete(spec.Programs, name)
		}
	}
	loaded, err := quickly(spec)
	if err != nil {
		loaded, err = ebpf.NewCollection(spec)
	}
	if err != nil {
		return nil, oneLine(err)
	}
	s := &Source{programs: loaded.Programs, variables: loaded.Variables}
	s.buffers.New = func() any { return new(buffer) }
	for _, m := range loaded.Maps {
		m.Close() // the programs hold what they need, and a variable is mapped
	}
	if err := s.try(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// target is the function of the kernel that the iterators are attached to.
const target = "bpf_iter_task_file"

// quickly is [ebpf.NewCollection] for these programs.
func quickly(spec *ebpf.CollectionSpec) (*ebpf.Collection, error) {
	types, id, err := typesFor(spec.Types)
	if err != nil {
		return nil, err
	}
	data := spec.Copy()
	data.Programs = nil
	loaded, err := ebpf.NewCollection(data)
	if err != nil {
		return nil, err
	}
	for name, program := range spec.Programs {
		loaded.Programs[name], err = loadProgram(program, loaded.Maps, types, id)
		if err != nil {
			delete(loaded.Programs, name)
			loaded.Close()
			return nil, err
		}
	}
	return loaded, nil
}

// typesFor is what the kernel says of the types to which programs refer, and the number of [target].
func typesFor(local *btf.Spec) (types *btf.Spec, id uint32, err error) {
	names, err := namesOf(local)
	if err != nil {
		return nil, 0, err
	}
	raw, unmap, err := mapKernelTypes()
	if err != nil {
		return nil, 0, err
	}
	sifted, id, err := sift(raw, names, target)
	unmap()
	if err != nil {
		return nil, 0, err
	}
	types, err = btf.LoadSpecFromReader(bytes.NewReader(sifted))
	return types, id, err
}

// instructions are those of a program with its maps, and for the types of this kernel.
func instructions(program *ebpf.ProgramSpec, maps map[string]*ebpf.Map, types *btf.Spec) (asm.Instructions, error) {
	list := slices.Clone(program.Instructions)
	var refers []*asm.Instruction
	var references []*btf.CORERelocation
	for i := range list {
		ins := &list[i]
		if m := maps[ins.Reference()]; m != nil && ins.IsLoadFromMap() {
			if err := ins.AssociateMap(m); err != nil {
				return nil, err
			}
		}
		if r := btf.CORERelocationMetadata(ins); r != nil {
			refers, references = append(refers, ins), append(references, r)
		}
	}
	fixups, err := btf.CORERelocate(references, []*btf.Spec{types}, program.ByteOrder, func(t btf.Type) (btf.TypeID, error) {
		return 0, fmt.Errorf("number of %v: %w", t, errBTF)
	})
	if err != nil {
		return nil, err
	}
	for i, f := range fixups {
		if err := f.Apply(refers[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// loadProgram is BPF_PROG_LOAD.
func loadProgram(program *ebpf.ProgramSpec, maps map[string]*ebpf.Map, types *btf.Spec, id uint32) (*ebpf.Program, error) {
	list, err := instructions(program, maps, types)
	if err != nil {
		return nil, err
	}
	var code bytes.Buffer
	if err := list.Marshal(&code, program.ByteOrder); err != nil {
		return nil, err
	}
	license := append([]byte(program.License), 0)
	var pinned runtime.Pinner
	pinned.Pin(&code.Bytes()[0])
	pinned.Pin(&license[0])
	defer pinned.Unpin()
	attr := struct { // of union bpf_attr
		kind, count           uint32
		instructions, license uint64
		_                     [16]byte // log_level, log_size, log_buf
		_, _                  uint32   // kern_version, prog_flags
		name                  [16]byte
		_                     uint32 // prog_ifindex
		attach                uint32
		_                     [36]byte // prog_btf_fd, func_info, line_info
		function              uint32
	}{
		kind: bpfTracing, count: uint32(code.Len() / asm.InstructionSize), attach: uint32(ebpf.AttachTraceIter), function: id,
		instructions: uint64(uintptr(unsafe.Pointer(&code.Bytes()[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:len(attr.name)-1], program.Name)
	fd, err := bpf(bpfProgLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(maps)
	if err != nil {
		return nil, err
	}
	p, err := ebpf.NewProgramFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
	}
	return p, err
}
