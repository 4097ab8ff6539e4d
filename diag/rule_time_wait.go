package diag

import (
	"cmp"
	"fmt"
	"strconv"
)

// timeWaitCrowd is how many sockets in TIME-WAIT are worth a word.
const timeWaitCrowd = 100

var timeWait = &Rule{
	Name:     "time-wait",
	Title:    "many sockets in TIME-WAIT, which is normal",
	Severity: Info,
	Doc: Doc{
		Means: "The side that closes first keeps a small record for 60 seconds, so that late segments do not reach a new connection. No process holds it, it takes no descriptor " +
			"and about 250 bytes, and it goes by itself. Many of them mean many short connections, not a leak.",
		Proof: "State TIME-WAIT with inode 0 and the timewait timer in the dump of the namespace, counted on the ports that the process listens on and towards its peers.",
		Imitates: "A crowd of which nothing is on the ports of the process or towards its peers is of others, and nothing is said. " +
			"Local ports towards one destination can run out when a client opens many short connections: that is a matter of reuse, not of leaking.",
		Todo: "Nothing. If local ports run short, reuse connections.",
		Advice: map[string]string{
			"": "Leave them: they go by themselves after 60 seconds. If local ports run short, reuse connections instead of opening one per request.",
		},
	},
	Check: checkTimeWait,
}

func checkTimeWait(p *Pass) {
	all, own := p.Proc.Space.TimeWait, p.Proc.TimeWait
	if all < timeWaitCrowd || own == 0 {
		return
	}
	f := &Finding{
		Severity: Info,
		Sockets:  own,
		Why:      "The side that closed first keeps TIME-WAIT for 60 seconds to catch late segments; no process holds it and no descriptor is used.",
		Evidence: []Evidence{
			{"TIME-WAIT in the namespace", strconv.Itoa(all), cmp.Or(p.Proc.Space.TimeWaitSource, "sock_diag")},
			{"TIME-WAIT on its ports or towards its peers", strconv.Itoa(own), "ports that it listens on, peers that it is connected to"},
		},
	}
	f.Message = fmt.Sprintf("%d sockets are in TIME-WAIT in the network namespace of %s, %d of them on its ports or towards its peers: normal churn, not a leak",
		all, Subject(p.Proc.Process), own)
	p.Report(f)
}
