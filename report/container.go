package report

import (
	"strings"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// containerFacts say in what container a process is, and what it is called there; "" for none.
func containerFacts(p *diag.Proc) string {
	container := diag.ContainerText(&p.Place)
	if container == "" {
		return ""
	}
	parts := []string{container}
	if c := p.Place.Container; c != nil && c.Service != "" {
		parts = append(parts, "service "+c.Service)
	}
	if s := diag.InnerText(p.Process); s != "" {
		parts = append(parts, s)
	}
	return strings.Join(parts, " · ")
}

// placeCells are the columns for programs.
func placeCells(p *diag.Proc, add func(key string, cell Cell)) {
	c := p.Place.Container
	if c == nil {
		c = &procfd.Container{}
	}
	inner := Cell{}
	if n := len(p.Inner); n > 0 {
		inner = number(p.Inner[n-1])
	}
	add("systemd_unit", text(p.Place.Unit))
	add("container_runtime", text(c.Runtime))
	add("container_id", text(c.ID))
	add("container_name", text(c.Name))
	add("pod_namespace", text(c.PodSpace))
	add("pod_name", text(c.PodName))
	add("pod_uid", text(p.Place.Pod))
	add("ns_pid", inner)
}

// wireContainer is a container, or the pod of a process that is in none of its containers: then there is no id.
type wireContainer struct {
	Runtime *string  `json:"runtime"`
	ID      *string  `json:"id"`
	Name    *string  `json:"name"`
	Service *string  `json:"service"` // of Docker Compose: project/service
	Nested  bool     `json:"nested"`  // in another container
	Pod     *wirePod `json:"pod"`
}

type wirePod struct {
	UID       *string `json:"uid"`
	Namespace *string `json:"namespace"`
	Name      *string `json:"name"`
}

func wireContainerOf(p *procfd.Place) *wireContainer {
	c := p.Container
	if c == nil && p.Pod == "" {
		return nil
	}
	if c == nil {
		c = &procfd.Container{}
	}
	w := &wireContainer{Runtime: stated(c.Runtime), ID: stated(c.ID), Name: stated(c.Name), Service: stated(c.Service), Nested: c.Nested}
	if p.Pod != "" || c.PodName != "" {
		w.Pod = &wirePod{stated(p.Pod), stated(c.PodSpace), stated(c.PodName)}
	}
	return w
}

// stated is null for what is not known.
func stated(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
