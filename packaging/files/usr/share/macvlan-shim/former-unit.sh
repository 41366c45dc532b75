#!/bin/sh
# The packages' scripts run this. The unit was once called macvlan-shim.service, but many people have a unit of their own with
# that name: the recipe that this package replaces. The unit is now called macvlan-shimd.service.
#
#   former-unit.sh leave   stop the former unit, remove its links, move an administrator's changes to the new one
#   former-unit.sh warn    tell about a macvlan-shim.service of somebody else
set -e

former=macvlan-shim.service
unit=macvlan-shimd.service
etc=/etc/systemd/system

# The mask of the former unit, or a changed copy of it. Every other file of that name is somebody else's.
is_of_package() {
	if [ -L "$1" ] && [ "$(readlink "$1")" = /dev/null ]; then return 0; fi
	if [ ! -f "$1" ]; then return 1; fi
	case $(cat "$1") in *ExecStart=/usr/bin/macvlan-shim\ *) return 0 ;; *) return 1 ;; esac
}

# Units of that name that would take the place of the package's.
others() {
	for folder in $etc /run/systemd/system /usr/local/lib/systemd/system; do
		if [ -f $folder/$former ] && ! is_of_package $folder/$former; then echo "$folder/$former"; fi
	done
}

# Somebody else's unit may have come while the daemon was running in the former one.
runs_the_daemon() {
	main=$(systemctl show --property=MainPID --value $former)
	case $(readlink "/proc/$main/exe") in /usr/bin/macvlan-shim*) return 0 ;; *) return 1 ;; esac
}

move() {
	if { [ -e "$1" ] || [ -L "$1" ]; } && [ ! -e "$2" ] && [ ! -L "$2" ]; then
		mv "$1" "$2"
		echo "macvlan-shim: $1 is now $2" >&2
	fi
}

case $1 in
	leave)
		others=$(others)
		if [ -d /run/systemd/system ] && { [ -z "$others" ] || runs_the_daemon; }; then
			systemctl stop $former || true
		fi
		link=$etc/multi-user.target.wants/$former
		case $(readlink $link) in
			/lib/systemd/* | /usr/lib/systemd/*) rm $link ;;
			*) if is_of_package $etc/$former; then rm -f $link; fi ;;
		esac
		if [ -z "$others" ]; then
			move $etc/$former $etc/$unit
			move $etc/$former.d $etc/$unit.d
		fi
		;;
	warn)
		for other in $(others); do
			echo "macvlan-shim: $other is not this package's unit, which is $unit; if it is a recipe for macvlan, see" \
				/usr/share/doc/macvlan-shim/retiring-a-recipe.md >&2
		done
		;;
esac
