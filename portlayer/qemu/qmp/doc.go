// Package qmp speaks the QEMU Machine Protocol: JSON lines over a unix socket, commands answered in order, events in
// between. It knows no command and no event by name but those of the handshake.
//
//	client, err := qmp.New(ctx, conn, func(e qmp.Event) { ... })
//	var status struct{ Status string }
//	err = client.Execute(ctx, qmp.Command{Name: "query-status"}, &status)
//
// QEMU may be under a guest's control, so a line that it sends is bounded. Files travel with a command as SCM_RIGHTS.
package qmp
