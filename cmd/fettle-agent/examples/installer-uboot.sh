#!/bin/sh
# Installer program for fettle-agent: two partitions, chosen by U-Boot's
# variables. What it must do is written in docs/agent.md#the-installer-program.
#
# It expects of U-Boot's boot script:
#   slot          a or b, the slot of every start
#   slot_try      a slot to be started once, or nothing; the script clears it
#                 (setenv slot_try; saveenv) before it starts that slot
# and the slot that was started on the kernel's command line: fettle.slot=a.
#
# fw_setenv writes both copies of a redundant environment one after another:
# configure two (/etc/fw_env.config), so that a power cut leaves one whole.
set -eu
A=${FETTLE_SLOT_A:-/dev/disk/by-partlabel/root-a}
B=${FETTLE_SLOT_B:-/dev/disk/by-partlabel/root-b}
CMDLINE=${FETTLE_CMDLINE:-/proc/cmdline}

current() { sed -n 's/.*fettle\.slot=\([ab]\).*/\1/p' "$CMDLINE"; }
other() { case $(current) in a) echo b ;; b) echo a ;; *) echo "the kernel's command line has no fettle.slot=" >&2; exit 1 ;; esac; }
device() { case $1 in a) echo "$A" ;; b) echo "$B" ;; *) echo "no slot $1" >&2; exit 2 ;; esac; }

case ${1:-} in
current) current ;;
other) other ;;
install)
	[ "$2" != "$(current)" ] || { echo "slot $2 runs" >&2; exit 1; }
	to=$(device "$2")
	dd if="$3" of="$to" bs=1M conv=fsync,notrunc 2>/dev/null
	# Read it back from the medium: flash may have failed without a word.
	[ "$(head -c "$FETTLE_LENGTH" "$to" | sha256sum | cut -d' ' -f1)" = "$FETTLE_SHA256" ] || { echo "slot $2 does not hold what was written" >&2; exit 1; }
	;;
activate) device "$2" >/dev/null; fw_setenv slot_try "$2" ;;
commit)
	device "$2" >/dev/null
	printf 'slot %s\nslot_try\n' "$2" | fw_setenv --script - ;; # both in one write
*) echo "usage: $0 current|other|install SLOT FILE|activate SLOT|commit SLOT" >&2; exit 2 ;;
esac
