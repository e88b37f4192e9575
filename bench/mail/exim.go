package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// config has Exim take every mail into its spool and deliver none.
const config = `
exim_user = %[2]d
exim_group = %[3]d
primary_hostname = mail.example.org
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
pid_file_path = %[1]s/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[4]d
tls_advertise_hosts =
never_users =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max_per_connection = 1000000
queue_only = true
keep_environment =
acl_smtp_rcpt = accept
begin routers
none:
  driver = redirect
  data = :blackhole:
`

// exim is a mail server that keeps mails.
func exim(ctx context.Context, _ options, dir string, port int) (*exec.Cmd, error) {
	uid, gid := os.Getuid(), os.Getgid()
	cmd := exec.CommandContext(ctx, "/usr/sbin/exim4", "-C", filepath.Join(dir, "exim.conf"), "-bdf") //nolint:gosec // a file made just now
	if uid == 0 {
		u, err := user.Lookup("Debian-exim")
		if err != nil {
			return nil, err
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user must get through
			return nil, err
		}
	}
	home := filepath.Join(dir, "exim")
	if err := os.Mkdir(home, 0o755); err != nil { //nolint:gosec // as above
		return nil, err
	}
	if err := os.Chown(home, uid, gid); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "exim.conf"), fmt.Appendf(nil, config, home, uid, gid, port), 0o644); err != nil { //nolint:gosec // the server's user reads it
		return nil, err
	}
	cmd.Dir, cmd.Stderr = home, os.Stderr
	return cmd, cmd.Start()
}
