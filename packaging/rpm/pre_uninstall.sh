# $1: how many versions will be left.
if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now macvlan-shimd.service || :
        # The daemon leaves everything in place when it stops. If the package goes, all of it goes too.
        macvlan-shim cleanup || echo "macvlan-shim: some of its links, routes or rules stay until the next boot" >&2
    else
        systemctl --no-reload disable macvlan-shimd.service || :
    fi
fi
