#!/bin/sh
# Installer program for fettle-agent without a bootloader: two files, a and b,
# in DIR, and a link "active" to the one that is started next. To try things on
# any Linux; what it must do is written in docs/agent.md#the-installer-program.
set -eu
DIR=${FETTLE_DEMO_DIR:?the directory with the slots}

point() { # at once or not at all
	ln -sfn "$1" "$DIR/active.new"
	mv -T "$DIR/active.new" "$DIR/active"
	sync "$DIR"
}

case ${1:-} in
current) cat "$DIR/started" ;; # whoever starts a slot writes its name there
other) case $(cat "$DIR/started") in a) echo b ;; *) echo a ;; esac ;;
install)
	cp "$3" "$DIR/$2.part"
	sync "$DIR/$2.part"
	mv "$DIR/$2.part" "$DIR/$2"
	sync "$DIR"
	;;
activate | commit) point "$2" ;;
*) echo "usage: $0 current|other|install SLOT FILE|activate SLOT|commit SLOT" >&2; exit 2 ;;
esac
