package main

import "errors"

const nodeName = "node1"

func upNode(settings, []string) error { return errors.New("not yet") }
func nodeInit([]string) error         { return errors.New("not yet") }
func nodeUp([]string) error           { return errors.New("not yet") }
