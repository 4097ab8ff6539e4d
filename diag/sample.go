package diag

import "time"

// Sample is the socket as a report shows it. uptime is the host's.
func (h *HeldSocket) Sample(uptime time.Duration) Sample { return sampleOf(h, uptime) }

// Sample is the descriptor as a report shows it.
func (d *DarkSocket) Sample() Sample { return darkSample(d) }
