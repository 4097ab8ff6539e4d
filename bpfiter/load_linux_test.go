package bpfiter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// The file that load shows the library leads it to the same instructions, and to the same function, as all types of the kernel do.
func TestSift(t *testing.T) {
	all, err := btf.LoadKernelSpec()
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, fs.ErrPermission) {
		t.Skipf("%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec, err := loadIter()
	if err != nil {
		t.Fatal(err)
	}
	sifted, id, err := typesFor(spec.Types)
	if err != nil {
		t.Fatal(err)
	}
	var function *btf.Func
	if err := all.TypeByName(target, &function); err != nil {
		t.Fatal(err)
	}
	if want, err := all.TypeID(function); err != nil || uint32(want) != id {
		t.Errorf("%s is type %d, want %d (%v)", target, id, want, err)
	}
	for name, program := range spec.Programs {
		var with [2][]byte
		for i, types := range []*btf.Spec{sifted, all} {
			list, err := instructions(program, nil, types)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for j := range list { // no map is loaded here
				list[j] = list[j].WithReference("")
			}
			var code bytes.Buffer
			if err := list.Marshal(&code, program.ByteOrder); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			with[i] = code.Bytes()
		}
		if !bytes.Equal(with[0], with[1]) {
			t.Errorf("%s is not the same program", name)
		}
	}
}

// Where the library loads the programs, they are loaded the quick way, and are what it would have loaded.
func TestQuickly(t *testing.T) {
	open(t)
	spec, err := loadIter()
	if err != nil {
		t.Fatal(err)
	}
	quick, err := quickly(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer quick.Close()
	slow, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	for name, p := range slow.Programs {
		a, b := info(t, quick.Programs[name]), info(t, p)
		if a.Tag != b.Tag || a.Name != b.Name || a.Type != b.Type {
			t.Errorf("%s: %+v, want %+v", name, a, b)
		}
	}
	if len(quick.Programs) != len(slow.Programs) || len(quick.Variables) != len(slow.Variables) {
		t.Errorf("%d programs and %d variables, want %d and %d", len(quick.Programs), len(quick.Variables), len(slow.Programs), len(slow.Variables))
	}
}

func info(t *testing.T, p *ebpf.Program) *ebpf.ProgramInfo {
	t.Helper()
	if p == nil {
		t.Fatal("the program is missing")
	}
	i, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// someTypes is a file of BTF in which struct a has members by way of all that a member can be.
func someTypes(t testing.TB) []byte {
	t.Helper()
	num := &btf.Int{Name: "unsigned int", Size: 4}
	wide := &btf.Enum{Name: "wide", Size: 8, Values: []btf.EnumValue{{Name: "one", Value: 1 << 40}}}
	b := &btf.Struct{Name: "b", Size: 4, Members: []btf.Member{{Name: "low", Type: num, BitfieldSize: 3}, {Name: "high", Type: num, Offset: 3, BitfieldSize: 5}}}
	far := &btf.Struct{Name: "far", Size: 4, Members: []btf.Member{{Name: "deep", Type: num}}}
	either := &btf.Union{Size: 8, Members: []btf.Member{{Name: "real", Type: &btf.Float{Name: "double", Size: 8}}, {Name: "wide", Type: wide}}}
	a := &btf.Struct{Name: "a", Size: 64, Members: []btf.Member{
		{Name: "b", Type: &btf.Typedef{Name: "b_t", Type: &btf.Const{Type: &btf.Volatile{Type: b}}}},
		{Name: "far", Type: &btf.Pointer{Target: far}, Offset: 64},
		{Type: either, Offset: 128},
		{Name: "list", Type: &btf.Array{Index: num, Type: &btf.Pointer{Target: &btf.Fwd{Name: "hidden"}}, Nelems: 3}, Offset: 192},
		{Name: "small", Type: &btf.Enum{Name: "small", Size: 4, Values: []btf.EnumValue{{Name: "two", Value: 2}}}, Offset: 384},
		{Name: "c", Type: &btf.Restrict{Type: &btf.TypeTag{Type: num, Value: "rcu"}}, Offset: 416},
	}}
	older := &btf.Struct{Name: "a___old", Size: 4, Members: []btf.Member{{Name: "c", Type: num}}}
	f := &btf.Func{Name: "f", Type: &btf.FuncProto{Return: num, Params: []btf.FuncParam{{Name: "far", Type: &btf.Pointer{Target: far}}}}, Linkage: btf.StaticFunc}
	builder, err := btf.NewBuilder([]btf.Type{num, f, a, older}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What is kept is as it was, and what pointers point to is not.
func TestSiftSome(t *testing.T) {
	raw := someTypes(t)
	small, id, err := sift(raw, map[string]bool{"a": true}, "f")
	if err != nil {
		t.Fatal(err)
	}
	had, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	has, err := btf.LoadSpecFromReader(bytes.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := had.TypeByID(btf.TypeID(id)); err != nil || f.TypeName() != "f" {
		t.Errorf("number %d is %v (%v), not f", id, f, err)
	}
	types, err := has.AnyTypesByName("a")
	if err != nil || len(types) != 1 {
		t.Fatalf("a: %v, %v", types, err)
	}
	var a *btf.Struct
	if err := had.TypeByName("a", &a); err != nil {
		t.Fatal(err)
	}
	cut := btf.Copy(a).(*btf.Struct)
	cut.Members[1].Type.(*btf.Pointer).Target = (*btf.Void)(nil)
	cut.Members[3].Type.(*btf.Array).Type = cut.Members[1].Type
	if got, want := fmt.Sprintf("%20v", types[0]), fmt.Sprintf("%20v", cut); got != want {
		t.Errorf("it became\n%s\nand was\n%s", got, want)
	}
	var other *btf.Struct
	if err := has.TypeByName("a___old", &other); err != nil || len(other.Members) != 1 {
		t.Errorf("a___old: %v, %v", other, err)
	}
	if err := has.TypeByName("far", &other); !errors.Is(err, btf.ErrNotFound) {
		t.Errorf("what is pointed to was kept: %v", err)
	}
}

// What is damaged is refused, and what calls for another way than the quick one.
func TestSiftRefuses(t *testing.T) {
	raw, a := someTypes(t), map[string]bool{"a": true}
	for name, c := range map[string]struct {
		change   func(b []byte) []byte
		function string
	}{
		"nothing":        {func([]byte) []byte { return nil }, "f"},
		"another magic":  {func(b []byte) []byte { b[0]++; return b }, "f"},
		"its version":    {func(b []byte) []byte { b[2]++; return b }, "f"},
		"cut":            {func(b []byte) []byte { return b[:len(b)-1] }, "f"},
		"types cut":      {func(b []byte) []byte { b[12]--; return b }, "f"},
		"names far away": {func(b []byte) []byte { b[19] = 0xff; return b }, "f"},
		"a new kind":     {func(b []byte) []byte { b[24+7] = 0x1e; return b }, "f"},
		"no function":    {slices.Clone[[]byte], "g"},
	} {
		if small, id, err := sift(c.change(slices.Clone(raw)), a, c.function); err == nil {
			t.Errorf("%s: %d bytes, function %d", name, len(small), id)
		}
	}
}

// FuzzSift: whatever it is given, it ends, and what it makes is a file that the library reads.
func FuzzSift(f *testing.F) {
	f.Add(someTypes(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		small, _, err := sift(raw, map[string]bool{"a": true, "b": true}, "f")
		if err != nil {
			return
		}
		if len(small) > len(raw)+mostNames {
			t.Errorf("%d bytes became %d", len(raw), len(small))
		}
		_, _ = btf.LoadSpecFromReader(bytes.NewReader(small))
	})
}

func BenchmarkOpen(b *testing.B) {
	open(b)
	for b.Loop() {
		s, err := Open()
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

func BenchmarkOpenByLibrary(b *testing.B) {
	open(b)
	for b.Loop() {
		spec, err := loadIter()
		if err != nil {
			b.Fatal(err)
		}
		delete(spec.Programs, owners)
		c, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
