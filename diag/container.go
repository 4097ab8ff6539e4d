package diag

import (
	"fmt"

	"github.com/sockleak/sockleak/procfd"
)

// ContainerText is a container in words: its pod and its name as far as they are known, and the beginning of its ID; "" for none.
func ContainerText(p *procfd.Place) string {
	c := p.Container
	if c == nil {
		if p.Pod != "" {
			return "pod " + p.Pod
		}
		return ""
	}
	id := c.ShortID()
	name := c.Name
	switch {
	case c.PodName != "" && name == "":
		name = c.PodSpace + "/" + c.PodName
	case c.PodName != "":
		name = c.PodSpace + "/" + c.PodName + "/" + name
	}
	text := runtimeText(c) + " "
	if name != "" {
		text += name + " (" + id + ")"
	} else {
		text += id
	}
	if p.Pod != "" && c.PodName == "" {
		text += ", pod " + p.Pod
	}
	if c.Nested {
		text += ", in another container"
	}
	return text
}

func runtimeText(c *procfd.Container) string {
	if c.Runtime == "" {
		return "container"
	}
	return c.Runtime
}

// UnitText is a unit in words, with the user whose own it is; "" for none, and for one that is but the cgroup of a container.
func UnitText(p *procfd.Place) string {
	switch {
	case p.Unit == "" || p.Container != nil && p.Container.InUnit(p.Unit):
		return ""
	case p.User >= 0:
		return fmt.Sprintf("%s of user %d", p.Unit, p.User)
	}
	return p.Unit
}

// InnerText says which number a process has in the PID namespaces that it is in beside the one that is read; "" for none.
func InnerText(p *procfd.Process) string {
	if len(p.Inner) == 0 {
		return ""
	}
	return fmt.Sprintf("pid %d in its PID namespace", p.Inner[len(p.Inner)-1])
}
