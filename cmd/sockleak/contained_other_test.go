//go:build !linux

package main

func contained() {}

func containedInit() {}

func canContain() bool { return false }
