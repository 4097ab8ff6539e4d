package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// FromHint says what is wanted of a file.
const FromHint = "--from takes what sockleak record wrote, a dump of `ss -D`, and the text of ss, netstat or /proc/net/tcp"

// openFile reads a file anew for each request: the last sample of a recording, or a list that another program wrote. It does not filter
// by state: to a dump, BOUND-INACTIVE is UNCONN.
func (s *Source) openFile() (*Sockets, error) {
	rec, err := record.Open(s.From)
	if errors.Is(err, record.ErrNotRecording) {
		list := &listFile{path: s.From}
		return &Sockets{Name: s.From, Dump: list.dump, After: list.gaps}, nil
	}
	if err != nil {
		return nil, hint.Add(fileError(s.From, err), FromHint)
	}
	defer rec.Close()
	sample, err := rec.Last()
	if errors.Is(err, io.EOF) {
		return nil, noSamples(s.From, rec)
	}
	if err != nil {
		return nil, fileError(s.From, err)
	}
	list := &Sockets{Name: s.From, sample: sample, Gaps: append(sampleGaps(sample), cutGap(rec)...)}
	list.Dump = func(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
		return func(yield func(*netlinkss.Socket, error) bool) {
			for netns, sock := range sampleSockets(sample) {
				list.place.Netns = netns
				if !yield(sock, nil) {
					return
				}
			}
		}
	}
	return list, nil
}

// sampleGaps are what a sample lacks when its sockets are counted.
func sampleGaps(s *record.Sample) []diag.Gap {
	gaps := slices.Clone(s.Snapshot.Gaps)
	usual, processes := 0, 0
	for _, space := range s.Snapshot.Spaces {
		gaps = append(gaps, space.Gaps...)
		for _, p := range space.Procs {
			processes++
			usual += p.Usual.Timer + p.Usual.NoTimer
		}
	}
	switch {
	case s.Rest == nil:
		gaps = append(gaps, diag.Gap{What: "sockets of others", Why: fmt.Sprintf("the recording is of %s alone", processesText(processes))})
	case usual > 0:
		return gaps // they stand among the rest
	}
	if usual > 0 {
		gaps = append(gaps, diag.Gap{What: "connections that were counted and not kept", Count: usual, Why: "there was nothing to say of them"})
	}
	return gaps
}

func processesText(n int) string {
	if n == 1 {
		return "one process"
	}
	return fmt.Sprintf("%d processes", n)
}

// listFile is a list that another program wrote.
type listFile struct {
	path   string
	losses []netlinkss.Loss // of the last reading
}

func (f *listFile) dump(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
	return func(yield func(*netlinkss.Socket, error) bool) {
		for _, sock := range f.each(&f.losses, func(err error) bool { return yield(nil, err) }) {
			if !yield(sock, nil) {
				return
			}
		}
	}
}

// each reads the list. A socket is valid until the next step.
func (f *listFile) each(losses *[]netlinkss.Loss, failed func(error) bool) iter.Seq2[*netlinkss.List, *netlinkss.Socket] {
	return func(yield func(*netlinkss.List, *netlinkss.Socket) bool) {
		file, err := os.Open(f.path)
		if err != nil {
			failed(err)
			return
		}
		defer file.Close()
		list := netlinkss.ReadList(file)
		defer func() { *losses = list.Losses() }()
		for sock, err := range list.Sockets() {
			if err != nil {
				failed(hint.Add(fileError(f.path, err), FromHint))
				return
			}
			if !yield(list, sock) {
				return
			}
		}
	}
}

// gaps are what the list lacked in the last reading, as far as a count of its sockets misses it.
func (f *listFile) gaps(by diag.GroupBy) []diag.Gap {
	told := []string{netlinkss.LossClocks, netlinkss.LossHolders, netlinkss.LossInodes, netlinkss.LossCookies}
	if by != diag.ByUID {
		told = append(told, netlinkss.LossUIDs)
	}
	return lossGaps(f.losses, told...)
}

// lossGaps are all of them but for those that are told otherwise.
func lossGaps(losses []netlinkss.Loss, but ...string) (gaps []diag.Gap) {
	for _, l := range losses {
		if !slices.Contains(but, l.What) {
			minor := slices.Contains([]string{netlinkss.LossOther, netlinkss.LossUIDs, netlinkss.LossDevices, netlinkss.LossCookies}, l.What)
			gaps = append(gaps, diag.Gap{What: l.What, Count: l.Count, Why: l.Why, Minor: minor})
		}
	}
	return gaps
}

// ownRecorded finds the processes of what was counted in a recording. A socket that several hold is that of the one with the most
// descriptors, as in [procfd.FS.Owners].
func ownRecorded(t *diag.Tally, snap *diag.Snapshot) []diag.Gap {
	var procs []*diag.Proc
	for _, space := range snap.Spaces {
		procs = append(procs, space.Procs...)
	}
	slices.SortStableFunc(procs, func(a, b *diag.Proc) int { return b.Open - a.Open })
	owners, holder := make([]procfd.Owner, len(procs)), map[uint64]int32{}
	for i, p := range slices.Backward(procs) { // the first has the last word
		owners[i] = procfd.Owner{PID: p.PID, Start: p.Start, Name: p.Name, UID: p.UID}
		for k := range p.Held {
			holder[uint64(p.Held[k].Inode)] = int32(i)
		}
	}
	numbers, of, missing := map[uint64]int{}, []int32{}, 0
	t.Wanted(func(inode uint64) (n int, added bool) {
		if n, ok := numbers[inode]; ok {
			return n, false
		}
		at, ok := holder[inode]
		if !ok {
			at = -1
			missing++
		}
		numbers[inode] = len(of)
		of = append(of, at)
		return len(of) - 1, true
	})
	t.Own(owners, of)
	if missing == 0 {
		return nil
	}
	why := "the recording has no process that was seen to hold them"
	if slices.ContainsFunc(procs, func(p *diag.Proc) bool { return p.Usual.Timer+p.Usual.NoTimer > 0 }) {
		why += fmt.Sprintf("; of more than %d descriptors it has the holders of those sockets alone of which there is something to say", mostOwned)
	}
	return []diag.Gap{{What: "processes of sockets", Count: missing, Why: why}}
}
